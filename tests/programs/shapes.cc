// Containers, virtual calls, exceptions, streams, strings and random numbers of the C++ library.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};
struct Square : Shape {
    double side;
    explicit Square(double s) : side(s) {}
    double area() const override { return side * side; }
};
struct Circle : Shape {
    double radius;
    explicit Circle(double r) : radius(r)
    {
        if (r > 0.999)
            throw std::range_error("a radius of " + std::to_string(r));
    }
    double area() const override { return 3.14159265358979 * radius * radius; }
};

int main()
{
    std::mt19937_64 random(42);
    std::uniform_real_distribution<double> unit(0, 1);
    std::map<std::string, std::vector<std::unique_ptr<Shape>>> groups;
    std::ofstream journal("journal");
    for (int step = 0; step < 6000; step++) {
        // The harness holds the program here until it has saved it often enough.
        while (step == 4500 && !std::filesystem::exists("go"))
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::ostringstream name;
        name << "group " << random() % 61;
        auto &group = groups[name.str()];
        for (int i = 0; i < 40; i++) {
            try {
                if (random() % 2)
                    group.push_back(std::make_unique<Square>(unit(random)));
                else
                    group.push_back(std::make_unique<Circle>(unit(random)));
            } catch (const std::exception &error) {
                journal << step << ' ' << error.what() << std::endl;
            }
        }
        double total = 0;
        for (const auto &[key, shapes] : groups)
            for (const auto &shape : shapes)
                total += shape->area();
        std::sort(group.begin(), group.end(), [](const auto &a, const auto &b) { return a->area() < b->area(); });
        if (group.size() > 400)
            group.resize(100);
        std::cout << step << ' ' << name.str() << ' ' << group.size() << ' ' << total << std::endl;
    }
    return 8;
}
