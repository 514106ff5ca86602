//! `make bench`: what a stop, a save and a restart take, each beside the limit of this machine, measured in turns in the same run.
//!
//! ```text
//! victim    the program that is saved: fills its memory, and does and times what it is told over a pipe
//! target    the side of the driver: starts victims, saves and restarts them
//! figures   one function for each line of the table
//! ticker    another program that is saved, by any tool
//! peers     what other tools need for the same
//! machine   what it ran on, and how busy that was
//! report    tables in Markdown, bench.json
//! pages     puts the tables into the documentation
//! plot      the same as SVG
//! ```
//!
//! Every time is a difference of `CLOCK_MONOTONIC`, which all processes share. Each figure is taken in rounds, and each round
//! takes the limit and the figure, one after the other, so that a busy minute hits both.

mod clock;
mod figures;
mod limits;
mod machine;
mod memory;
mod options;
mod pages;
mod peers;
mod place;
mod plot;
mod report;
mod sample;
mod series;
mod target;
mod ticker;
mod victim;

use options::Options;

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("victim") => victim::main(&args.next().expect("bench victim MEMORY")),
        Some("ticker") => {
            let mut next = || args.next().expect("bench ticker MEMORY FILE");
            ticker::main(&next(), &next())
        }
        Some("read") => limits::read_main(&args.next().expect("bench read FILE")),
        first => {
            let options = Options::parse(first.map(String::from).into_iter().chain(args));
            options.schedule();
            let machine = machine::Machine::look();
            let table = figures::measure(&options);
            report::write(&options, &machine, &table);
        }
    }
}
