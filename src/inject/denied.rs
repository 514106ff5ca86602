//! Why a process may not be traced: the kernel says `EPERM` and no more.

use image::fields::find;
use image::number::{take_decimal, take_hex};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// What `/proc/PID/status` says, as far as it matters here.
struct Status(Vec<u8>);

impl Status {
    fn number(&self, name: &[u8]) -> Option<u64> {
        find(&self.0, name).map(|value| value.trim_ascii()).and_then(take_decimal).map(|(number, _)| number)
    }

    fn mask(&self, name: &[u8]) -> u64 {
        find(&self.0, name).map(|value| value.trim_ascii()).and_then(take_hex).map_or(0, |(mask, _)| mask)
    }

    fn has(&self, name: &[u8]) -> bool {
        find(&self.0, name).is_some()
    }
}

/// The rule that forbids it, and what to do.
pub fn why(pid: i32) -> String {
    /// `CAP_SYS_PTRACE`.
    const TRACER: u64 = 1 << 19;
    let read = |who: &str| Status(fs::read(format!("/proc/{who}/status")).unwrap_or_default());
    let (theirs, ours) = (read(&pid.to_string()), read("self"));
    let may_all = ours.mask(b"CapEff:") & TRACER != 0;
    let uid = |status: &Status| status.number(b"Uid:");
    if !theirs.has(b"VmSize:") {
        return "is a thread of the kernel, or has ended".to_owned();
    }
    if let Some(tracer) = theirs.number(b"TracerPid:").filter(|tracer| *tracer != 0) {
        let name = fs::read_to_string(format!("/proc/{tracer}/comm")).unwrap_or_default();
        let name = name.trim_end().escape_debug();
        return format!(
            "is traced already, by process {tracer} ({name}), and a process can have one tracer; end that one"
        );
    }
    if !may_all && uid(&theirs) != uid(&ours) {
        let uid = uid(&theirs).unwrap_or_default();
        return format!("belongs to uid {uid}; ask as its user or as root");
    }
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if let Some(rule) = yama(scope.trim(), may_all) {
        return rule;
    }
    let owner = fs::metadata(format!("/proc/{pid}")).ok().map(|metadata| u64::from(metadata.uid()));
    if !may_all && owner.is_some() && owner != uid(&theirs) {
        return "is not dumpable (PR_SET_DUMPABLE in prctl(2)): it has what its user may not see; ask as root".to_owned();
    }
    if theirs.mask(b"CapPrm:") & !ours.mask(b"CapPrm:") != 0 {
        return "has capabilities that ckpt has not; ask as root".to_owned();
    }
    "may not be traced, as the kernel says (EPERM): a security module, a seccomp filter or a container forbids ptrace(2)".to_owned()
}

/// The rule of Yama (Documentation/admin-guide/LSM/Yama.rst), if it is one that forbids.
fn yama(scope: &str, may_all: bool) -> Option<String> {
    let (rule, remedy) = match scope {
        "1" if !may_all => (
            "only an ancestor may trace it",
            "ask as root, start it with ckpt run, or sysctl -w kernel.yama.ptrace_scope=0",
        ),
        "2" if !may_all => ("only root may trace", "ask as root"),
        "3" => ("nobody may trace until the machine is started again", "start it with ckpt run"),
        _ => return None,
    };
    Some(format!("kernel.yama.ptrace_scope is {scope}, {rule}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_yama() {
        assert_eq!(yama("0", false), None);
        assert_eq!(yama("", false), None);
        assert_eq!(yama("1", true), None);
        assert!(yama("1", false).is_some_and(|rule| rule.contains("ancestor") && rule.contains("ckpt run")));
        assert!(yama("2", false).is_some_and(|rule| rule.contains("only root")));
        assert!(yama("3", true).is_some_and(|rule| rule.contains("nobody")));
    }
}
