/* Ctrl-C: the first SIGINT stops the run in progress. */
#include <signal.h>
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

static bool wanted, installed;

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

/* Begins (`on`) or ends the time in which Ctrl-C stops a run. The library's handler of SIGINT is installed at the first node of a run. When
   the run ends, the process's own handler is put back, unless the process has set another handler meanwhile. */
void ls__interrupt_guard(bool on) {
  struct sigaction now;
  running = on;
  interrupted = 0;
  wanted = on && ls__interrupt_handled && !installed;
  if (on || !installed) return;
  installed = false;
  if (!sigaction(SIGINT, &before, &now) && !is_ours(&now)) sigaction(SIGINT, &now, NULL);
}

ls_status ls__interrupt_listen(void) {
  if (wanted) install();
  return ls__interrupt_check();
}

ls_status ls__interrupt_check(void) {
  if (!interrupted) return LS_OK;
  interrupted = 0;
  return ls__fail(LS_ERROR_INTERRUPTED, "interrupted");
}
