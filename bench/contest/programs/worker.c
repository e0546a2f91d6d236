/* The smallest worker there can be, the same for every contestant.
 *
 *   worker STARTS                     appends "PID NANOSECONDS" to the file STARTS as its first act, then does nothing
 *   worker STARTS leak MB_PER_S MOST  after a random wait, so that no check can fall into step with it, takes so much
 *                                     memory each second, up to MOST MB, and keeps STARTS.PID.rss: MB that it has
 *
 * It sends a heartbeat each second where it is given a descriptor for it. SIGRTMIN makes it hang in a busy loop.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STEPS_PER_SECOND 20
#define LONGEST_WAIT 60

static void spin(int number) {
    (void)number;
    for (;;) {}
}

static void nap(double seconds) {
    struct timespec rest = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    while (nanosleep(&rest, &rest) != 0) {}
}

static void beat(int fd, long number) {
    char line[160];
    int length = snprintf(line, sizeof line,
        "{\"v\":1,\"seq\":%ld,\"state\":\"ready\",\"registered\":true,\"lag_ms\":0.4,\"load\":0.1,\"calls\":[]}\n", number);
    if (write(fd, line, (size_t)length) < 0) exit(1);
}

static double resident_mb(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) exit(1);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void leak_one_step(int file, double mb) {
    static char *volatile last; /* volatile, or the compiler leaves out what nobody reads */
    char text[32];
    size_t bytes = (size_t)(mb * (1 << 20));
    last = malloc(bytes);
    if (last != NULL) memset(last, 1, bytes);
    int length = snprintf(text, sizeof text, "%012.1f\n", resident_mb());
    if (pwrite(file, text, (size_t)length, 0) < 0) exit(1);
}

int main(int count, char **words) {
    struct timespec now;
    char text[512];
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (count < 2) return 2;
    int starts = open(words[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int length = snprintf(text, sizeof text, "%d %lld\n", (int)getpid(), now.tv_sec * 1000000000LL + now.tv_nsec);
    if (starts < 0 || write(starts, text, (size_t)length) < 0) return 1;
    signal(SIGRTMIN, spin);

    const char *given = getenv("MINDBOT_HEARTBEAT_FD");
    int beats = given != NULL ? atoi(given) : -1;
    double per_second = count > 4 ? atof(words[3]) : 0, most = count > 4 ? atof(words[4]) : 0;
    int memory = -1;
    long tick = 0, wait = 0;
    if (per_second > 0) {
        snprintf(text, sizeof text, "%s.%d.rss", words[1], (int)getpid());
        memory = open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        srand((unsigned)(now.tv_nsec ^ getpid()));
        wait = rand() % (LONGEST_WAIT * STEPS_PER_SECOND);
    }
    for (;; tick++) {
        if (beats >= 0 && (memory < 0 || tick % STEPS_PER_SECOND == 0)) beat(beats, tick + 1);
        if (memory >= 0 && tick >= wait && resident_mb() < most) leak_one_step(memory, per_second / STEPS_PER_SECOND);
        if (memory < 0 && beats < 0) pause();
        else nap(memory >= 0 ? 1.0 / STEPS_PER_SECOND : 1.0);
    }
}
