/* Reads stored edits from JSON: checks the text, takes the programs of the modules that the edits call, and records the nodes of an edit in
   a trace. */
#include <stdlib.h>
#include <string.h>
#include "trace/trace.h"

/* ---- the text ---------------------------------------------------------------------------------------------------- */

/* Checks the list of an edit's calls with points of their own: for each the step of a generation in which the script made it. */
static ls_status check_hooks(const ls__read_place *at, const json_t *edit) {
  const json_t *list = json_object_get(edit, "hooks"), *nodes = json_object_get(edit, "nodes");
  bool right = !list || (ls__read_is_list(list) && json_array_size(list) <= json_array_size(nodes));
  for (size_t i = 0; i < json_array_size(list) && right; i++) {
    const json_t *step = json_array_get(list, i);
    right = json_is_integer(step) && json_integer_value(step) >= 0 && json_integer_value(step) <= INT32_MAX;
  }
  return right ? LS_OK : ls__read_fail(at, LS_ERROR_FORMAT, "the field `hooks` of the edit is not a list of steps, one for each call");
}

static ls_status check_edits(ls_reader *r) {
  static const char *const known[] = {"luasight_edits", "edits", NULL}, *const of_edit[] = {"graph", "nodes", "steps", "hooks", NULL};
  ls__read_place at = {.reader = r, .graph = -1, .node = -1};
  const json_t *edits = json_object_get(r->text, "edits");
  ls_status status = ls__read_known(&at, r->text, known);
  if (status) return status;
  if (!ls__read_is_list(edits)) return ls__read_fail(&at, LS_ERROR_FORMAT, "the field `edits` of the file is not a list");
  r->graph_count = (int32_t)json_array_size(edits);
  r->graphs = calloc((size_t)r->graph_count + 1, sizeof *r->graphs);
  if (!r->graphs) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the stored edits", r->name);
  for (int32_t i = 0; i < r->graph_count && !status; i++) {
    const json_t *o = json_array_get(edits, (size_t)i), *steps = json_object_get(o, "steps"),
                 *graph = json_object_get(o, "graph");
    at.graph = i;
    r->graphs[i].module = -1;
    r->graphs[i].nodes = json_object_get(o, "nodes");
    r->graphs[i].steps = json_is_true(steps);
    if (!json_is_object(o)) status = ls__read_fail(&at, LS_ERROR_FORMAT, "the stored edit is not a JSON object");
    if (!status) status = ls__read_known(&at, o, of_edit);
    if (!status && steps && !json_is_boolean(steps))
      status = ls__read_fail(&at, LS_ERROR_FORMAT, "the field `steps` of the edit is neither true nor false");
    if (!status && graph && (!json_is_string(graph) || strcmp(json_string_value(graph), "trace")))
      status = ls__read_fail(&at, LS_ERROR_FORMAT, "the field `graph` of the edit is not \"trace\"");
    if (!status) status = check_hooks(&at, o);
    r->graphs[i].hooks = status ? 0 : (int32_t)json_array_size(json_object_get(o, "hooks"));
    if (!status) status = ls__read_check(r, i);
  }
  return status;
}

ls_status ls_edits_read(const char *json, size_t length, const char *name, ls_reader **out) {
  LS__NEED(json && name && out);
  return ls__read_any(json, length, name, false, check_edits, out);
}

/* ---- what it holds ------------------------------------------------------------------------------------------------- */

int32_t ls_reader_edits(ls_reader *r) { return r && !r->is_function ? r->graph_count : -1; }

int32_t ls_reader_edit_steps(ls_reader *r, int32_t i) {
  return r && !r->is_function && i >= 0 && i < r->graph_count ? r->graphs[i].steps : -1;
}

int32_t ls_reader_calls(ls_reader *r) { return r ? r->call_count : -1; }

static const ls__read_call *call_at(ls_reader *r, int32_t i) { return r && i >= 0 && i < r->call_count ? &r->calls[i] : NULL; }

ls_status ls_reader_call(ls_reader *r, int32_t i, ls_reader_call_info *out) {
  const ls__read_call *call = call_at(r, i);
  LS__NEED(call && out);
  *out = (ls_reader_call_info){.edit = call->graph, .node = call->node, .positional = call->positional,
      .keywords = call->keywords, .path = call->path};
  return LS_OK;
}

const char *ls_reader_call_keyword(ls_reader *r, int32_t i, int32_t k) {
  const ls__read_call *call = call_at(r, i);
  if (!call || k < 0 || k >= call->keywords) return NULL;
  return json_string_value(json_object_get(json_array_get(call->arguments, (size_t)call->positional + (size_t)k), "name"));
}

ls_status ls_reader_set_program(ls_reader *r, int32_t i, ls_program *p) {
  LS__NEED(call_at(r, i) && p);
  ls__read_call *call = &r->calls[i];
  const ls_function *f = ls__program_function(p);
  ls__read_place at = {.reader = r, .graph = call->graph, .node = call->node, .kind = "call", .name = call->path};
  bool fits = ls__function_positional(f) == call->positional;
  for (int32_t k = 0; k < call->keywords && fits; k++) fits = ls__function_has_input(f, ls_reader_call_keyword(r, i, k));
  if (!fits) return ls__read_fail(&at, LS_ERROR_ARGUMENT, "the called module does not take the arguments that the stored edit passes");
  ls__program_retain(p);
  ls_program_release(call->program);
  call->program = p;
  return LS_OK;
}

/* ---- in a trace ---------------------------------------------------------------------------------------------------- */

/* Where the nodes of an edit are recorded: in which invoke, and the number in the trace of the edit's first call with points of its own. */
typedef struct place {
  int32_t invoke, hooks;
} place;

static ls_status point_of(const ls__build *b, ls_program *p, const char *whose, int32_t *point) {
  char shown[LS__READ_SHOWN];
  *point = ls_program_find(p, b->at.name);
  if (*point >= 0) return LS_OK;
  return ls__read_fail(&b->at, LS_ERROR_UNREACHED, "the node names the point %s, which this %s does not have",
                       ls__printable(b->at.name, strlen(b->at.name), shown, sizeof shown), whose);
}

/* Records the replacement of the value at a point: of the invoke, or, with a `hook` from 0 on, of a call with points of its own. */
static ls_status make_write(ls__build *b, ls_trace *t, int32_t invoke, int32_t hook, int32_t step, int32_t point) {
  ls_value built, *value = &b->stream[0];
  ls_status status = LS_OK;
  if (value->kind == LS_OPEN) {
    if ((status = ls_value_build(b->stream, b->n, &built))) return status;
    value = &built;
  }
  status = hook >= 0 ? ls__hook_write(t, hook, point, value, 0)
                     : ls_trace_write(t, invoke, step, point, value, json_is_true(json_object_get(b->node, "skips")), 0);
  if (value == &built) ls_value_release(&built);
  return status;
}

static ls_program *program_of(const ls__build *b) {
  const ls_reader *r = b->at.reader;
  for (int32_t i = 0; i < r->call_count; i++)
    if (r->calls[i].graph == b->at.graph && r->calls[i].node == b->at.node) return r->calls[i].program;
  return NULL;
}

static ls_status make_node(ls__build *b, int32_t *id) {
  ls_trace *t = (ls_trace *)b->owner;
  const place *to = b->context;
  const json_t *number = json_object_get(b->node, "hook");
  int32_t point, step = (int32_t)json_integer_value(json_object_get(b->node, "step"));
  int32_t hook = number ? to->hooks + (int32_t)json_integer_value(number) : -1;
  ls_value made = {.aux = -1};
  ls_status status = LS_OK;
  if (b->kind == LS__CALL) {
    status = ls_trace_call(t, program_of(b), b->stream, b->n, hook, 0, &made);
  } else if (b->kind == LS__SEE && b->n) { /* the result of the call, which was recorded with it */
    *id = b->stream[0].aux;
    return LS_OK;
  } else if (number && !(status = point_of(b, t->hooks[hook].program, "call", &point))) {
    status = b->kind == LS__SEE ? ls__hook_read(t, hook, point, 0, &made) : make_write(b, t, to->invoke, hook, step, point);
  } else if (!number && !(status = point_of(b, t->invokes[to->invoke].program, "model", &point))) {
    status = b->kind == LS__READ ? ls_trace_read(t, to->invoke, step, point, 0, &made)
                                 : make_write(b, t, to->invoke, -1, step, point);
  }
  *id = made.aux;
  ls_value_release(&made);
  return status;
}

static ls_status record(void *trace, const ls__node *node, const ls_value *stream, int32_t n, uint8_t result, int32_t *id) {
  ls_trace *t = trace;
  bool is_field = node->kind == LS__GETITEM && n == 2 && stream[0].kind == LS_NODE && stream[1].kind == LS_STRING;
  if (is_field && t->owner.nodes.kinds[stream[0].aux] == LS_STRUCT) {
    ls_status status = ls__trace_check_field(t, stream[0].aux, stream[1].as.s);
    if (status) return status;
  }
  return ls__trace_record(t, node, stream, n, result, id);
}

/* Announces to the trace the calls of an edit that have points of their own, in the order of their numbers. */
static ls_status announce(const ls_reader *r, int32_t edit, ls_trace *t) {
  int32_t count = r->graphs[edit].hooks, number;
  ls_program **programs = calloc((size_t)count + 1, sizeof *programs);
  ls_status status = programs ? LS_OK : ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the calls of a stored edit", r->name);
  for (int32_t i = 0; i < r->call_count && !status; i++)
    if (r->calls[i].graph == edit && r->calls[i].hook >= 0) programs[r->calls[i].hook] = r->calls[i].program;
  for (int32_t i = 0; i < count && !status; i++) status = ls_trace_hook(t, programs[i], &number);
  free(programs);
  return status;
}

ls_status ls_reader_record(ls_reader *r, int32_t edit, ls_trace *trace, int32_t invoke) {
  LS__NEED(r && !r->is_function && edit >= 0 && edit < r->graph_count && trace && invoke >= 0 && invoke < trace->invoke_count);
  ls_status status = ls__trace_check_open(trace);
  if (status) return status;
  if (trace->invokes[invoke].kind != LS_INVOKE_WHOLE)
    return ls__fail(LS_ERROR_STATE, "stored edits can be recorded only in an invoke with a pass of its own (LS_INVOKE_WHOLE)");
  for (int32_t i = 0; i < r->call_count; i++)
    if (r->calls[i].graph == edit && !r->calls[i].program) {
      ls__read_place at = {.reader = r, .graph = edit, .node = r->calls[i].node, .kind = "call", .name = r->calls[i].path};
      return ls__read_fail(&at, LS_ERROR_NAME, "a stored edit calls this module, but ls_reader_set_program has not set its program");
    }
  place to = {.invoke = invoke, .hooks = trace->hook_count};
  if ((status = announce(r, edit, trace))) return status;
  ls__build b = {.at = {.reader = r, .graph = edit, .node = -1}, .owner = &trace->owner, .record = record, .make = make_node,
                 .context = &to, .module = trace->module};
  status = ls__build_nodes(&b);
  ls__build_free(&b);
  return status;
}
