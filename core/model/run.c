/* Runs a program: an interpreter with its own frames, which can pause. The run pauses at the point that a trace asks for until the trace
   lets it go on; where no trace asks for a point, the run does not stop at any. */
#include <stdlib.h>
#include <string.h>
#include "model/private.h"

typedef struct ls__frame {
  ls_function *function;
  int32_t instance; /* the call that the frame runs; -1 in a fused function, which has no points */
  int32_t pc;
  int32_t autograd; /* an ls__autograd: how the frame runs, which is told by its call or by a call around it */
  int32_t base;     /* the index of the frame's first cell, in which the value of its first node is */
  int32_t origin;   /* the next node whose value the watcher is told of; a number beyond all nodes where there is none */
} frame;

/* ---- runs ------------------------------------------------------------------------------------------------------- */

ls_status ls__run_new(ls_program *p, const ls_value *args, int32_t n, ls__run **out) {
  ls__run *r = p->idle;
  p->idle = NULL;
  if (!r) {
    r = calloc(1, sizeof *r);
    if (r) {
      r->frames = calloc((size_t)p->depth + 1, sizeof *r->frames);
      r->cells = calloc((size_t)p->values + 1, sizeof *r->cells);
    }
    if (!r || !r->frames || !r->cells) {
      if (r) free(r->frames), free(r->cells);
      free(r);
      return ls__fail(LS_ERROR_MEMORY, "out of memory for a run");
    }
  }
  r->program = p;
  p->references++;
  r->watcher = NULL;
  r->origins = NULL;
  r->at = r->target = r->narrow_instance = -1;
  r->standing = false;
  r->depth = r->cells_used = r->argument_count = 0;
  ls_status status = ls__arguments_keep(args, n, &r->arguments);
  if (status) {
    r->arguments = NULL;
    ls__run_free(r);
    return status;
  }
  r->argument_count = n;
  *out = r;
  return LS_OK;
}

static void clear(ls_value *v) { ls__replace(v, (ls_value){0}); }

/* Ends a run and releases its values. The program keeps the memory of the run for its next run. */
void ls__run_free(ls__run *r) {
  if (!r) return;
  for (int32_t i = 0; i < r->cells_used; i++) clear(&r->cells[i]);
  if (r->arguments) ls__stream_free(r->arguments, r->argument_count);
  r->arguments = NULL;
  clear(&r->value);
  clear(&r->result);
  ls_program *p = r->program;
  r->program = NULL;
  if (p && !p->idle && p->references > 1) {
    p->idle = r;
  } else {
    free(r->frames);
    free(r->cells);
    free(r);
  }
  ls_program_release(p);
}

static void stand(ls__run *r, int32_t point, ls_value value) {
  r->at = point;
  r->value = value;
  r->standing = true;
}

static void find_origin(const ls__run *r, frame *f, int32_t from) {
  f->origin = r->origins && f->instance >= 0 ? ls__origins_next(r->origins, f->function, f->instance, from) : INT32_MAX;
}

/* Tells the watcher of a value that has just been made. */
static ls_status announce(ls__run *r, frame *f) {
  int32_t node = f->origin;
  find_origin(r, f, node + 1);
  return r->watcher && r->watcher->made ? r->watcher->made(r->who, &r->cells[f->base + node]) : LS_OK;
}

/* Whether the trace replaces the result of the call in the frame `f` without reading it, so that the call need not run. Where it does, the
   run stands at the output point. */
static bool passes_over(ls__run *r, frame *f) {
  const ls__instance *in = &r->program->instances[f->instance];
  if (r->target != in->output || !r->watcher || !r->watcher->replaces(r->who)) return false;
  for (int32_t i = 0; i < f->function->inputs; i++) clear(&r->cells[f->base + i]);
  f->pc = f->function->owner.nodes.count + 1;
  stand(r, in->output, (ls_value){0});
  return true;
}

/* Switches autograd to what the top frame runs with. */
static void set_autograd(const ls__run *r) {
  int32_t mode = r->depth ? r->frames[r->depth - 1].autograd : LS__AUTOGRAD_RUN;
  ls_grad_enable(mode == LS__AUTOGRAD_RUN ? r->autograd : mode == LS__AUTOGRAD_ON);
}

/* Begins a call of a function with the arguments `s`, in a new frame. `autograd` is what the node of the call says. */
static ls_status push(ls__run *r, ls_function *function, int32_t instance, const ls_value *s, int32_t n, int32_t autograd) {
  int32_t around = r->depth ? r->frames[r->depth - 1].autograd : LS__AUTOGRAD_RUN;
  frame *f = &r->frames[r->depth++];
  *f = (frame){function, instance, 0, autograd ? autograd : around, r->cells_used, INT32_MAX};
  if (f->autograd != around) set_autograd(r);
  r->cells_used += function->owner.nodes.count;
  ls_value *cells = r->cells + f->base;
  ls_status status = ls__fill_inputs(function, s, n, cells);
  if (r->origins) find_origin(r, f, 0);
  while (!status && f->origin < function->inputs) status = announce(r, f);
  if (status || instance < 0) return status;
  const ls__instance *in = &r->program->instances[instance];
  if (!in->module || passes_over(r, f)) return LS_OK;
  if (r->target == in->input) {
    ls_value pair;
    if ((status = ls__pair_of(function, cells, &pair))) return status;
    stand(r, in->input, pair);
  }
  return LS_OK;
}

/* Releases the values that no node after node `pc` uses. */
static inline void drop_dead(const ls_function *function, int32_t pc, ls_value *cells) {
  ls__end end = function->ends[pc];
  for (int32_t i = 0; i < end.n; i++) clear(&cells[function->dies[end.at + i]]);
}

/* Ends the call of the top frame: `value`, the result of the call, becomes the value of the calling node, or, where the program itself
   ends, the result of the run. */
static ls_status pop(ls__run *r, ls_value value) {
  r->cells_used = r->frames[--r->depth].base;
  if (r->frames[r->depth].autograd) set_autograd(r);
  if (!r->depth) {
    r->result = value;
    return LS_OK;
  }
  frame *f = &r->frames[r->depth - 1];
  ls_value *cells = r->cells + f->base;
  cells[f->pc] = value;
  ls_status status = f->pc == f->origin ? announce(r, f) : LS_OK;
  drop_dead(f->function, f->pc, cells);
  f->pc++;
  return status;
}

/* Ends a function: its result becomes the value of the calling node, or, where the trace asks for the function's output point, the run
   first pauses there with the result. */
static ls_status leave(ls__run *r, frame *f) {
  ls_value *cells = r->cells + f->base, value = f->function->result;
  if (value.kind == LS_NODE) {
    value = cells[f->function->result.aux];
    cells[f->function->result.aux] = (ls_value){0};
  } else {
    ls_value_retain(&value);
  }
  const ls__instance *in = f->instance >= 0 ? &r->program->instances[f->instance] : NULL;
  if (!in || !in->module || r->target != in->output) return pop(r, value);
  stand(r, in->output, value);
  return LS_OK;
}

/* Executes a node with an ls__slot: a call, a tap, or a choice between a plain and a fused function. */
static ls_status step_slot(ls__run *r, frame *f, const ls__node *node, ls_value *cells) {
  int32_t to = f->instance >= 0 ? r->program->slots[r->program->instances[f->instance].slots + node->slot] : -1;
  if (node->kind == LS__TAP) {
    ls_value value = node->stream[0].kind == LS_NODE ? cells[node->stream[0].aux] : node->stream[0];
    ls_value_retain(&value);
    if (r->target == to) {
      stand(r, to, value);
      return LS_OK;
    }
    cells[f->pc] = value;
    drop_dead(f->function, f->pc++, cells);
    return LS_OK;
  }
  ls_value local[LS__LOCAL], *s = ls__substitute(node->stream, node->n, cells, local);
  if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for the arguments of a call");
  ls_status status = LS_OK;
  ls_value cut = {0};
  if (r->watcher && to >= 0 && to == r->narrow_instance && !(status = r->watcher->cut(r->who, &s[0], &cut))) s[0] = cut;
  if (status) {
    if (s != local) free(s);
    return status;
  }
  const ls__instance *in = to >= 0 ? &r->program->instances[to] : NULL;
  const ls__slot *slot = &f->function->slots[node->slot];
  if (node->kind == LS__TWO_FORMS && !(in && r->target >= in->input && r->target <= in->output))
    status = push(r, slot->fused, -1, s, node->n, node->autograd);
  else
    status = push(r, slot->callee, to, s, node->n, node->autograd);
  ls_value_release(&cut);
  if (s != local) free(s);
  return status;
}

static ls_status tell(const ls__run *r, ls_status (*what)(void *who, void *tensor), const ls_value *v) {
  if (v->kind == LS_TENSOR) return what(r->who, v->as.p);
  ls_status status = LS_OK;
  for (int32_t i = 0; i < ls_seq_length(v) && !status; i++) status = tell(r, what, &ls__seq_items(v)[i]);
  return status;
}

/* Tells the trace that watches the run, with one of the functions of its ls__watcher, which tensors a node changes in place. */
static ls_status tell_edited(const ls__run *r, ls_status (*what)(void *who, void *tensor), const ls__node *node, const ls_value *cells) {
  ls_status status = LS_OK;
  for (int32_t k = 0, of; !status && (of = ls__node_edits(node, k)) >= 0; k++) status = tell(r, what, &cells[of]);
  return status;
}

/* Lets the program run to the next point at which it has to pause, or to its end. */
static ls_status advance(ls__run *r) {
  while (r->depth && !r->standing) {
    frame *f = &r->frames[r->depth - 1];
    ls_function *function = f->function;
    ls_value *cells = r->cells + f->base;
    const ls__nodes *nodes = &function->owner.nodes;
    while (f->pc < nodes->count) {
      const ls__node *node = &nodes->at[f->pc];
      ls_status status = ls__interrupt_listen();
      if (status) return status;
      if (node->slot >= 0) {
        status = step_slot(r, f, node, cells);
      } else {
        if (node->edits >= 0 && r->watcher) status = tell_edited(r, r->watcher->protect, node, cells);
        if (!status && node->kind != LS__INPUT) status = ls__node_execute(node, cells, &cells[f->pc]);
        if (!status && node->edits >= 0 && r->watcher) status = tell_edited(r, r->watcher->changed, node, cells);
        if (f->pc == f->origin && !status) status = announce(r, f);
        if (!status) {
          drop_dead(function, f->pc++, cells);
          continue;
        }
      }
      if (status) {
        if (!ls_error_site()) ls__fail_site(node->site, 0);
        if (!*ls_error_point() && f->instance >= 0)
          ls__fail_point(ls_program_point_name(r->program, r->program->instances[f->instance].input));
        return status;
      }
      if (node->kind != LS__TAP || r->standing) goto changed;
    }
    ls_status status = leave(r, f);
    if (status) return status;
  changed:;
  }
  return LS_OK;
}

/* Continues a run from the point at which it is paused, and passes the value at that point on to the node or the call behind the point. */
static ls_status depart(ls__run *r) {
  ls_value value = r->value;
  r->value = (ls_value){0};
  r->standing = false;
  frame *f = &r->frames[r->depth - 1];
  ls_value *cells = r->cells + f->base;
  switch (r->program->points[r->at].kind) {
    case LS_POINT_INPUT:
      ls__pair_to_cells(f->function, &value, cells);
      ls_value_release(&value);
      passes_over(r, f);
      break;
    case LS_POINT_OUTPUT: return pop(r, value);
    default:
      cells[f->pc] = value;
      drop_dead(f->function, f->pc, cells);
      f->pc++;
  }
  return LS_OK;
}

ls_status ls__run_until(ls__run *r, int32_t point) {
  ls_status status = LS_OK;
  if (r->standing && (r->at >= point || r->at == r->program->point_count)) return LS_OK;
  r->target = point;
  r->autograd = ls_grad_enabled();
  if (r->depth && r->frames[r->depth - 1].autograd) set_autograd(r);
  if (r->at < 0) {
    r->at = 0;
    status = push(r, r->program->function, 0, r->arguments, r->argument_count, LS__AUTOGRAD_RUN);
  } else {
    status = depart(r);
  }
  if (!status) status = advance(r);
  if (r->depth && r->frames[r->depth - 1].autograd) ls_grad_enable(r->autograd);
  if (!status && !r->depth) {
    r->at = r->program->point_count;
    r->standing = true;
  }
  return status;
}

ls_status ls__run_finish(ls__run *r, ls_value *out) {
  ls_status status = ls__run_until(r, r->program->point_count);
  if (status) return status;
  *out = r->result;
  r->result = (ls_value){0};
  return LS_OK;
}

/* ---- what a watcher does and asks ---------------------------------------------------------------------------------- */

void ls__run_watch(ls__run *r, const ls__watcher *watcher, void *who) {
  r->watcher = watcher;
  r->who = who;
}

void ls__run_origins(ls__run *r, const ls__origins *o) {
  r->origins = o->count ? o : NULL;
  for (int32_t i = 0; i < r->depth; i++) find_origin(r, &r->frames[i], r->frames[i].pc);
}

void ls__run_narrow(ls__run *r, int32_t instance) { r->narrow_instance = instance; }

bool ls__run_is_paused_at(const ls__run *r, int32_t point) { return r->standing && r->at == point; }

bool ls__run_is_past(const ls__run *r, int32_t point) { return r->at > point || (r->at == point && !r->standing); }

ls_value *ls__run_value(ls__run *r) { return &r->value; }

ls_program *ls__run_program(const ls__run *r) { return r->program; }

void ls__run_each(ls__run *r, void (*each)(void *context, ls_value *tensor), void *context) {
  ls__value_each(&r->value, each, context);
  for (int32_t i = 0; i < r->cells_used; i++) ls__value_each(&r->cells[i], each, context);
}

ls_value *ls__run_arguments(ls__run *r, int32_t *n) {
  *n = r->argument_count;
  return r->arguments;
}

bool ls__run_borrows(const ls__run *r, void *tensor) {
  return ls__stream_shares(r->arguments, r->argument_count, tensor) || ls__program_owns(r->program, tensor);
}

/* ---- running without a trace ------------------------------------------------------------------------------------ */

ls_status ls__program_execute(ls_program *p, const ls_value *args, int32_t n, ls_value *out) {
  ls__run *r;
  ls_status status = ls__run_new(p, args, n, &r);
  if (status) return status;
  status = ls__run_finish(r, out);
  ls__run_free(r);
  return status;
}

ls_status ls_program_run(ls_program *p, const ls_value *args, int32_t n, int32_t autograd, ls_value *out) {
  LS__NEED(p && out);
  ls__mode saved;
  ls_value local[LS__LOCAL], result;
  const ls_value *given;
  ls_status status = ls__arguments_valid(args, n);
  if (!status) status = ls__arguments_check(args, n);
  if (!status) status = ls__resolve(args, n, local, &given);
  if (status) return status;
  ls__interrupt_begin(&p->brief);
  if (!autograd) ls__mode_enter(false, &saved);
  status = ls__program_execute(p, given, n, &result);
  ls__resolved_free(given, args, local);
  if (!status && (status = ls__interrupt_check())) ls_value_release(&result);
  ls__interrupt_end();
  if (!autograd) ls__mode_leave(&saved);
  if (!status) *out = result;
  return status;
}
