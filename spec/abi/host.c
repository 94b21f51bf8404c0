/* A host that lets the library change as little as it can, or all: what it finds before, meanwhile and afterwards. Prints what
   is not as it should be; spec/abi/abi_spec.lua builds and runs it. */
#define _GNU_SOURCE 1
#include <jansson.h>
#include <luasight/luasight.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int problems;
#define EXPECT(condition) \
  do { \
    if (!(condition)) problems++, printf("line %d: %s\n", __LINE__, #condition); \
  } while (0)

static volatile sig_atomic_t seen;
static volatile int seen_number;
static int value_of_signal;

static void handler(int number, siginfo_t *info, void *context) {
  seen++;
  seen_number = number;
  value_of_signal = info && context ? info->si_code : -12345;
}

static bool handled_by_us(void) {
  struct sigaction now;
  sigaction(SIGINT, NULL, &now);
  return (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == handler;
}

/* A text of JSON read by the library: of a tokenizer that does not hold, but is read to its end. */
static void read_json(void) {
  ls_tokenizer *t;
  static const char text[] = "{\"version\": \"1.0\", \"model\": {\"type\": \"none\"}}";
  EXPECT(ls_tokenizer_load(text, strlen(text), "text", &t) != LS_OK);
}

/* What goes to standard error in a call that libtorch warns of: a result whose place has another size. */
static long warned(void) {
  char path[] = "/tmp/luasight-host-XXXXXX";
  int to = mkstemp(path), before = dup(2);
  dup2(to, 2);
  ls_value one, place, results[LS_RESULTS];
  const ls_op *op;
  int64_t shape[2] = {1, 2};
  double numbers[2] = {1, 2};
  int32_t n;
  EXPECT(!ls_tensor_from(numbers, "float64", shape, 1, "float32", NULL, &one));
  EXPECT(!ls_tensor_from(numbers, "float64", shape + 1, 1, "float32", NULL, &place));
  EXPECT(!ls_op_find("add", &op));
  ls_value args[] = {one, one, {.kind = LS_KEY, .as.s = "out"}, place};
  EXPECT(!ls_op_call(op, args, 4, 0, results, &n));
  ls_value_release(&results[0]);
  ls_value_release(&one);
  ls_value_release(&place);
  fflush(stderr);
  dup2(before, 2);
  long length = lseek(to, 0, SEEK_END);
  close(before);
  close(to);
  unlink(path);
  return length;
}

static void send_interrupt(int number) {
  (void)number;
  raise(SIGINT);
}

/* Runs a program on `size` numbers. After `delay` microseconds (0: never) SIGINT comes: it stops the run where that is allowed, else it goes
   to our handler. */
static void interrupt_run(ls_program *p, int64_t size, int delay, bool stops) {
  ls_value x, out;
  double *numbers = calloc((size_t)size, sizeof *numbers);
  EXPECT(!ls_tensor_from(numbers, "float64", &size, 1, "float32", NULL, &x));
  free(numbers);
  signal(SIGALRM, send_interrupt);
  struct itimerval soon = {.it_value.tv_usec = delay};
  seen = 0;
  setitimer(ITIMER_REAL, &soon, NULL);
  ls_status status = ls_program_run(p, &x, 1, 0, &out);
  EXPECT(status == (stops && delay ? LS_ERROR_INTERRUPTED : LS_OK));
  EXPECT(seen == (delay && !stops));
  EXPECT(handled_by_us());
  if (!status) ls_value_release(&out);
  ls_value_release(&x);
}

/* Runs a function of many sums, for long and for a short time. */
static void run(bool stops) {
  enum { SUMS = 2000, SIZE = 100000 };
  ls_function *f;
  ls_program *p;
  ls_value x, y, results[LS_RESULTS], args[2] = {{0}, {.kind = LS_INT, .as.i = 1}};
  const ls_op *op;
  int32_t n;
  EXPECT(!ls_function_new(NULL, &f));
  EXPECT(!ls_function_input(f, NULL, &x));
  EXPECT(!ls_op_find("add", &op));
  for (int i = 0; i < SUMS; i++) {
    args[0] = x;
    EXPECT(!ls_op_call(op, args, 2, 0, results, &n));
    y = results[0];
    ls_value_release(&x);
    x = y;
  }
  EXPECT(!ls_function_finish(f, &y));
  EXPECT(!ls_program_new(f, &p));
  interrupt_run(p, SIZE, 5000, stops);
  for (int i = 0; i < 5; i++) interrupt_run(p, 1, 0, stops); /* short runs, behind which the handler comes later */
  interrupt_run(p, 4 * SIZE, 30000, stops);
  ls_value_release(&x);
  ls_function_release(f);
  ls_program_release(p);
}

static int calls_of_malloc;
static void *own_malloc(size_t size) {
  calls_of_malloc++;
  return malloc(size);
}

int main(int count, char **given) {
  int32_t may = count > 1 ? atoi(given[1]) : 0;
  struct sigaction mine;
  memset(&mine, 0, sizeof mine);
  mine.sa_sigaction = handler;
  mine.sa_flags = SA_SIGINFO;
  sigaction(SIGINT, &mine, NULL);
  json_set_alloc_funcs(own_malloc, free);
  int32_t threads = ls_threads();

  ls_value nothing;
  double number = 1;
  EXPECT(ls_tensor_from(&number, "float64", NULL, 0, "float32", NULL, &nothing) == LS_ERROR_STATE); /* not started */
  EXPECT(!ls_start(may));
  if (!(may & LS_START_THREADS)) EXPECT(ls_threads() == threads);
  EXPECT(handled_by_us());

  read_json();
  json_malloc_t now_malloc;
  json_free_t now_free;
  json_get_alloc_funcs(&now_malloc, &now_free);
  EXPECT(now_malloc == own_malloc && now_free == free);
  EXPECT(calls_of_malloc > 0);

  if (may & LS_START_WARNINGS) EXPECT(warned() > 0);
  else EXPECT(warned() == 0);

  run(may & LS_START_INTERRUPT);
  EXPECT(handled_by_us());
  seen = 0;
  raise(SIGINT);
  EXPECT(seen == 1 && seen_number == SIGINT && value_of_signal != -12345);

  EXPECT(ls_live() == 0);
  ls_stop();
  EXPECT(ls_threads() == threads);
  EXPECT(handled_by_us());
  ls_stop();
  EXPECT(!ls_start(may));
  EXPECT(warned() == 0 || (may & LS_START_WARNINGS));
  ls_stop();
  return problems != 0;
}
