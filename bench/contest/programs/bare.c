/* The smallest supervisor there can be, as the floor: keeps COUNT copies of a program running, with fork, exec and
 * waitpid, and nothing else.
 *
 *   bare COUNT PROGRAM [ARGUMENT…]
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void start(char **program) {
    if (fork() == 0) {
        execvp(program[0], program);
        _exit(127);
    }
}

int main(int count, char **words) {
    if (count < 3) return 2;
    for (int left = atoi(words[1]); left > 0; left--) start(words + 2);
    while (waitpid(-1, NULL, 0) > 0) start(words + 2);
    return 1;
}
