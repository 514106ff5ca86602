/* Trees, lists and tables of C++ full of small numbers, among them the program's id. build: g++ -O2 */
#include "victim.h"
#include <list>
#include <map>
#include <string>
#include <unordered_map>

int main()
{
    int count = getpid() % 20000 + 200;
    std::map<int, int> tree;
    std::list<int> list;
    std::unordered_map<int, std::string> table;
    for (int i = 0; i < count; i++) {
        tree[i] = i;
        list.push_back(i);
        table[i] = std::to_string(i);
    }
    checkpoint_here();
    check_equal(tree.size(), count);
    check_equal(list.size(), count);
    check_equal(table.size(), count);
    int next = 0;
    for (auto &[key, value] : tree) {
        check_equal(key, next);
        check_equal(value, next++);
    }
    next = 0;
    for (int value : list)
        check_equal(value, next++);
    for (int i = 0; i < count; i++)
        check(table.count(i) && table[i] == std::to_string(i), "table: %d", i);
    pass();
}
