/* Ctrl-C: the first SIGINT stops the run in progress. */
#include <signal.h>
#include <time.h>
#include "model/model.h"

static volatile sig_atomic_t interrupted;

void ls_interrupt(void) { interrupted = 1; }

/* Nonzero while a run is in progress: then the first SIGINT stops the run. Any other SIGINT goes to the handler that the process had
   before. */
static volatile sig_atomic_t running;
static struct sigaction before;

static void on_interrupt(int number, siginfo_t *info, void *context) {
  if (running && !interrupted) {
    interrupted = 1;
  } else if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(number, info, context);
  } else if (before.sa_handler == SIG_DFL) {
    signal(number, SIG_DFL);
    raise(number);
  } else if (before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  }
}

static bool is_ours(const struct sigaction *action) {
  return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_interrupt;
}

bool ls__interrupt_handled;

/* `brief` is the flag of the program that runs; `begun` is the instant at which its run began. */
static bool wanted, installed, *brief;
static int64_t begun;

/* Returns the time of the kernel's coarse clock, which moves on every few milliseconds and is read without a system call. */
static int64_t instant(void) {
  struct timespec now = {0};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void install(void) {
  static const struct sigaction ours = {.sa_sigaction = on_interrupt, .sa_flags = SA_SIGINFO | SA_RESTART};
  struct sigaction now;
  wanted = false;
  if (sigaction(SIGINT, &ours, &now)) return;
  if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN) {
    sigaction(SIGINT, &now, NULL);
    return;
  }
  before = now;
  installed = true;
}

/* Begins the time in which Ctrl-C stops a run. The library's handler of SIGINT is installed at the first node of the run. Where the last
   run of the program was over within an instant, the handler waits until this run has lasted longer than that: the two system calls
   would be a large part of so short a run, and a Ctrl-C during it is as good as one between two runs. */
void ls__interrupt_begin(bool *flag) {
  running = 1;
  interrupted = 0;
  wanted = ls__interrupt_handled && !installed;
  brief = flag;
  begun = wanted ? instant() : 0;
}

/* Ends that time. The process's own handler is put back, unless the process has set another handler meanwhile. */
void ls__interrupt_end(void) {
  struct sigaction now;
  running = 0;
  interrupted = 0;
  wanted = false;
  if (begun && brief) *brief = instant() == begun;
  if (!installed) return;
  installed = false;
  if (!sigaction(SIGINT, &before, &now) && !is_ours(&now)) sigaction(SIGINT, &now, NULL);
}

ls_status ls__interrupt_listen(void) {
  if (wanted && !(brief && *brief && instant() == begun)) install();
  return ls__interrupt_check();
}

ls_status ls__interrupt_check(void) {
  if (!interrupted) return LS_OK;
  interrupted = 0;
  return ls__fail(LS_ERROR_INTERRUPTED, "interrupted");
}
