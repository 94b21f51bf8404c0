/* Arithmetic of numbers in a forward. The sizes of a tensor are numbers that exist only when the forward runs; what an operator of arithmetic
   makes of numbers alone is a number, computed as Lua does: in double precision, and not in the dtype of a tensor. */
#include <math.h>
#include <string.h>
#include "model/private.h"

static double add(double a, double b) { return a + b; }
static double subtract(double a, double b) { return a - b; }
static double subtract_from(double a, double b) { return b - a; }
static double multiply(double a, double b) { return a * b; }
static double divide(double a, double b) { return a / b; }
static double modulo(double a, double b) { return a - floor(a / b) * b; }
static double negate(double a) { return -a; }
static double reciprocal(double a) { return 1 / a; }

typedef struct {
  const char *name;
  double (*one)(double);
  double (*two)(double, double);
} operation;

static const operation operations[] = {
  {"add", NULL, add}, {"sub", NULL, subtract}, {"rsub", NULL, subtract_from}, {"mul", NULL, multiply}, {"div", NULL, divide},
  {"remainder", NULL, modulo}, {"pow", NULL, pow}, {"neg", negate, NULL}, {"reciprocal", reciprocal, NULL}, {"sqrt", sqrt, NULL},
  {"exp", exp, NULL}, {"log", log, NULL}, {"floor", floor, NULL}, {"ceil", ceil, NULL}, {"abs", fabs, NULL},
};

static bool is_number(const ls_value *v) { return v->kind == LS_INT || v->kind == LS_FLOAT; }

/* Whether the value of node `id` is a number in every run. */
bool ls__numbers_always(const ls__nodes *nodes, int32_t id) {
  const ls__node *node = &nodes->at[id];
  if (node->kind == LS__OP) return node->flag && nodes->kinds[id] == LS_INT;
  return node->kind == LS__GETITEM && node->n == 2 && node->stream[0].kind == LS_NODE &&
         nodes->at[node->stream[0].aux].kind == LS__SHAPE;
}

void ls__numbers_note(ls__nodes *nodes, int32_t id) {
  ls__node *node = &nodes->at[id];
  if (node->kind != LS__OP || node->n < 1 || node->n > 2) return;
  bool always = true;
  for (int32_t i = 0; i < node->n; i++) {
    const ls_value *v = &node->stream[i];
    if (v->kind != LS_NODE ? !is_number(v) : nodes->kinds[v->aux] == LS_TENSOR && !nodes->at[v->aux].flag) return;
    always = always && (v->kind != LS_NODE || ls__numbers_always(nodes, v->aux));
  }
  for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
    const operation *o = &operations[i];
    if (!(node->n == 1 ? o->one != NULL : o->two != NULL) || strcmp(ls__op_name(node->op), o->name)) continue;
    node->flag = (uint8_t)(i + 1);
    if (always) nodes->kinds[id] = LS_INT; /* stands for a fraction too, which the run refuses where a whole number is needed */
  }
}

bool ls__numbers_compute(const ls__node *node, const ls_value *values, ls_value *out) {
  double given[2] = {0, 0};
  for (int32_t i = 0; i < node->n; i++) {
    const ls_value *v = node->stream[i].kind == LS_NODE ? &values[node->stream[i].aux] : &node->stream[i];
    if (!is_number(v)) return false;
    given[i] = v->kind == LS_INT ? (double)v->as.i : v->as.f;
  }
  const operation *o = &operations[node->flag - 1];
  double made = node->n == 1 ? o->one(given[0]) : o->two(given[0], given[1]);
  /* as from Lua, a whole number is an LS_INT, except for -0.0 */
  bool whole = made == floor(made) && made >= -0x1p63 && made < 0x1p63 && (made != 0 || !signbit(made));
  *out = (ls_value){.kind = whole ? LS_INT : LS_FLOAT};
  if (whole) out->as.i = (int64_t)made;
  else out->as.f = made;
  return true;
}
