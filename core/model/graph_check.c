/* Checks the nodes of a function or stored edit from JSON before any node is made. A node must have a kind that is allowed there and the
   number and types of arguments that its kind takes, and may refer to earlier nodes only. */
#include <stdlib.h>
#include <string.h>
#include "model/graph_check.h"

enum { FUNCTION = 1, EDIT = 2 }; /* where a kind of node may occur: in functions, in stored edits or, as the sum, in both */
/* what the field `name` of a node holds: nothing, an operator's name, a point's name, a tap's name, or a keyword that may be absent */
enum { FREE = 0, OPERATOR, POINT, NAME, OPTIONAL };
enum { ANY = 1 << 20, MOST_INPUTS = 256, MOST_STEPS = 1 << 20 };

typedef struct rule {
  int32_t where, name;
  int32_t least, most;       /* the fewest and the most arguments that the node may have */
  bool gives;                /* whether a node of this kind has a value */
  bool keywords;             /* whether the node's arguments can have names */
  bool indices;              /* whether the node's last arguments are indices */
  bool node;                 /* whether at least one argument of the node has to be another node */
} rule;

static const rule rules[] = {
  [LS__INPUT] = {FUNCTION, OPTIONAL, 0, 0, true, false, false, false},
  [LS__OP] = {FUNCTION | EDIT, OPERATOR, 1, ANY, true, true, false, true},
  [LS__GETITEM] = {FUNCTION | EDIT, FREE, 2, ANY, true, false, true, true},
  [LS__SETITEM] = {FUNCTION | EDIT, FREE, 3, ANY, false, false, true, true},
  [LS__SEQ] = {FUNCTION | EDIT, FREE, 1, 1, true, false, false, true},
  [LS__SHAPE] = {FUNCTION, FREE, 1, 1, true, false, false, true},
  [LS__CALL] = {FUNCTION | EDIT, FREE, 1, ANY, true, true, false, true},
  [LS__TAP] = {FUNCTION, NAME, 1, 1, true, false, false, true},
  [LS__TWO_FORMS] = {FUNCTION, FREE, 1, ANY, true, false, false, true},
  [LS__GUARD] = {FUNCTION, FREE, 2, 2, false, false, false, true},
  [LS__READ] = {EDIT, POINT, 0, 0, true, false, false, false},
  [LS__WRITE] = {EDIT, POINT, 1, 1, false, false, false, false},
  [LS__SEE] = {EDIT, OPTIONAL, 0, 1, true, false, false, false},
  [LS__PUT] = {EDIT, POINT, 1, 1, false, false, false, false},
};

/* Returns the error text for a kind of node that a trace can have but a file cannot. */
static const char *reason(int32_t kind) {
  switch (kind) {
    case LS__HOST: return "a Lua function (tracer:apply) cannot be saved as data: edits in files are operators only";
    case LS__GRAD:
    case LS__SETGRAD: return "a gradient cannot be saved as data: edits in files are operators only";
    case LS__BACKWARD: return "a backward cannot be saved as data: edits in files are operators only";
    default: return "a node of this kind is not allowed here";
  }
}

/* ---- all arguments of a node ------------------------------------------------------------------------------------- */

enum { MOST_KEYWORDS = 64 }; /* the limit is low because the name of each named argument is compared with all earlier names */

static ls_status check_arguments(ls__check *c, const rule *r, const ls_op *op) {
  const json_t *list = json_object_get(c->node, "arguments");
  if (list && !ls__read_is_list(list)) return ls__check_wrong(c, "`arguments` is not a list");
  size_t n = json_array_size(list), positional = 0, most = op ? (size_t)ls__op_arguments(op) : (size_t)r->most;
  if (n < (size_t)r->least || n > most)
    return ls__check_wrong(c, "the node has %zu argument%s, but its kind takes %s%d", n, n == 1 ? "" : "s",
                         n < (size_t)r->least ? (most > (size_t)r->least ? "at least " : "") : "at most ",
                         n < (size_t)r->least ? r->least : (int32_t)most);
  ls_status status = LS_OK;
  size_t first_index = c->kind == LS__SETITEM ? 2 : 1;
  for (size_t i = 0; i < n && !status; i++) {
    const json_t *v = json_array_get(list, i);
    if (!json_object_get(v, "name")) {
      if (positional++ < i) return ls__check_wrong(c, "a positional argument follows a named one");
      status = ls__check_value(c, v, 0, r->indices && i >= first_index);
      continue;
    }
    if (!r->keywords) return ls__check_wrong(c, "the arguments of a node of this kind cannot have names");
    if (i - positional >= MOST_KEYWORDS) return ls__check_wrong(c, "the node has more than %d named arguments", MOST_KEYWORDS);
    status = ls__check_named(c, list, i);
    if (!status && op) status = ls__check_keyword(c, op, json_object_get(v, "name"));
    if (!status) status = ls__check_value(c, json_object_get(v, "value"), 0, false);
  }
  /* a function computes at each run what needs none of its inputs: zeros, random numbers, an operator on a weight */
  bool computes = c->hook >= 0 || (c->at.reader->is_function && (c->kind == LS__OP || c->kind == LS__GETITEM || c->kind == LS__SETITEM || c->kind == LS__CALL));
  if (!status && r->node && !c->has_node && !computes)
    return ls__check_wrong(c, "no argument of the node is a node, so its value is known already; write the value into the file");
  return status;
}

/* Checks what some kinds of nodes require of their first two arguments, beyond the number of arguments and their types. */
static ls_status check_first(ls__check *c) {
  const json_t *list = json_object_get(c->node, "arguments"), *first = json_array_get(list, 0),
               *second = json_array_get(list, 1);
  bool is_node = json_object_get(first, "node") != NULL, is_edit = !c->at.reader->is_function;
  bool is_sequence = json_is_array(first) || json_object_get(first, "tuple") || json_object_get(first, "struct");
  switch (c->kind) {
    case LS__GETITEM: return is_sequence ? ls__check_wrong(c, "the indexed value is a list; make the list a node of its own") : LS_OK;
    case LS__SEQ: return is_sequence ? LS_OK : ls__check_wrong(c, "the argument is not a sequence");
    case LS__SHAPE:
    case LS__TAP: return is_node ? LS_OK : ls__check_wrong(c, "the argument is not a node");
    case LS__GUARD:
      if (!is_node) return ls__check_wrong(c, "the first argument is not a node");
      return json_object_get(second, "node") || json_is_array(second) || json_object_get(second,
          "tuple") || json_object_get(second, "struct")
                 ? ls__check_wrong(c, "the second argument is a node or a sequence, not a plain value")
                 : LS_OK;
    case LS__SETITEM:
      if (is_edit && !is_node)
        return ls__check_wrong(c, "the node would change a tensor of the file or of the model; clone the tensor first");
      return ls__read_is_list(second) || json_object_get(second, "tuple") || json_object_get(second, "struct")
                 ? ls__check_wrong(c, "the value to be written is a list; only a number or a tensor can be written")
                 : LS_OK;
    case LS__PUT:
    case LS__WRITE:
      if (ls__read_is_list(first)) return ls__check_wrong(c, "a point takes a tensor or a tuple, not a list");
      return is_sequence && c->has_node ? ls__check_wrong(c, "the tuple has a node inside; make the tuple a node of its own") : LS_OK;
    default: return LS_OK;
  }
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static ls_status check_operator(ls__check *c, const ls_op **op) {
  const char *name = c->at.name;
  char shown[LS__READ_SHOWN];
  if (ls_op_find(name, op)) return ls__read_failed(&c->at, LS_ERROR_NAME);
  if (ls__operator_is_safe(name)) return LS_OK;
  return ls__read_fail(&c->at, LS_ERROR_NAME, "the operator %s is not on the list of operators that a file may call",
                       ls__printable(name, strlen(name), shown, sizeof shown));
}

/* Finds the function whose number is in the given field of the node; fails unless it is an earlier function of the file. */
static ls_status check_callee(ls__check *c, const char *field, const ls__read_graph **callee) {
  int64_t number;
  if (!ls__read_integer(json_object_get(c->node, field), 0, c->at.graph - 1, &number))
    return ls__check_wrong(c, "`%s` is not the number of an earlier function", field);
  *callee = &c->at.reader->graphs[number];
  return LS_OK;
}

/* Checks that a call passes all positional inputs of the called function, and only keywords that the function has. */
static ls_status check_inputs(ls__check *c, const ls__read_graph *callee) {
  const json_t *list = json_object_get(c->node, "arguments");
  int32_t positional = 0;
  char shown[LS__READ_SHOWN];
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *name = json_object_get(json_array_get(list, i), "name");
    bool found = !name;
    positional += !name;
    for (int32_t k = callee->positional; k < callee->inputs && !found; k++)
      found = json_equal(json_object_get(json_array_get(callee->nodes, (size_t)k), "name"), name);
    if (!found) return ls__check_wrong(c, "the called function has no input \"%s\"", ls__read_shown(name, shown));
  }
  return positional == callee->positional
             ? LS_OK
             : ls__check_wrong(c, "the called function takes %d arguments, not %d", callee->positional, positional);
}

/* Adds the counts of calls and points and the depth of a called function to those of the function that calls it. Fails where a sum is above
   its limit, so that no sum overflows. */
static ls_status count_call(ls__check *c, const ls__read_graph *callee) {
  ls__read_graph *g = c->graph;
  g->slots++;
  g->calls += callee->calls;
  g->points += callee->points;
  if (callee->depth >= g->depth) g->depth = callee->depth + 1;
  if (g->calls <= LS__READ_CALLS && g->points <= LS__READ_POINTS && g->depth < LS__READ_CALL_DEPTH) return LS_OK;
  return ls__check_wrong(c, "a run of this function makes more than %d calls, passes more than %d points or calls functions "
                       "deeper than %d", LS__READ_CALLS, LS__READ_POINTS, LS__READ_CALL_DEPTH);
}

static ls_status check_call(ls__check *c) {
  const ls__read_graph *callee = NULL;
  ls_status status = check_callee(c, "function", &callee);
  if (!status && callee->module < 0) status = ls__check_wrong(c, "the called function belongs to no module");
  if (!status) status = check_inputs(c, callee);
  return status ? status : count_call(c, callee);
}

static ls_status check_two_forms(ls__check *c) {
  const ls__read_graph *plain = NULL, *fused = NULL;
  ls_status status = check_callee(c, "plain", &plain);
  if (!status) status = check_callee(c, "fused", &fused);
  if (status) return status;
  if (plain->module >= 0 || fused->module >= 0) return ls__check_wrong(c, "the plain or the fused form belongs to a module");
  if (fused->slots) return ls__check_wrong(c, "the fused form has calls or taps; it can have operators only");
  if (plain->inputs != fused->inputs || plain->positional != fused->positional)
    return ls__check_wrong(c, "the plain and the fused form have different inputs");
  status = check_inputs(c, plain);
  return status ? status : count_call(c, plain);
}

/* Notes that a stored edit calls a module of the model, so that the caller can set a program for the call. */
static ls_status note_call(ls__check *c) {
  ls_reader *r = c->at.reader;
  if (r->call_count == r->call_room) {
    int32_t room = r->call_room ? 2 * r->call_room : 8;
    ls__read_call *calls = realloc(r->calls, sizeof *calls * (size_t)room);
    if (!calls) return ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the nodes of the file", r->name);
    r->calls = calls;
    r->call_room = room;
  }
  const json_t *list = json_object_get(c->node, "arguments");
  ls__read_call *call = &r->calls[r->call_count++];
  *call = (ls__read_call){.graph = c->at.graph, .node = c->at.node, .arguments = list, .path = c->at.name, .hook = c->hook};
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *v = json_array_get(list, i), *name = json_object_get(v, "name"),
                 *value = name ? json_object_get(v, "value") : v;
    if (name) call->keywords++;
    else call->positional++;
    if (!json_object_get(value, "node") && !json_object_get(value, "tensor") && !json_object_get(value, "parameter"))
      return ls__check_wrong(c, "a module can be called with tensors and nodes only");
  }
  return LS_OK;
}

/* Checks that an input of a function is among the first nodes, and that positional inputs come before inputs with a keyword. */
static ls_status check_input(ls__check *c) {
  ls__read_graph *g = c->graph;
  const json_t *name = json_object_get(c->node, "name");
  char shown[LS__READ_SHOWN];
  if (g->inputs != c->at.node) return ls__check_wrong(c, "the inputs of a function must be its first nodes");
  if (g->inputs == MOST_INPUTS) return ls__check_wrong(c, "a function has at most %d inputs", MOST_INPUTS);
  for (int32_t k = g->positional; k < g->inputs && name; k++)
    if (json_equal(json_object_get(json_array_get(g->nodes, (size_t)k), "name"), name))
      return ls__check_wrong(c, "two inputs have the name \"%s\"", ls__read_shown(name, shown));
  if (!name && g->positional != g->inputs) return ls__check_wrong(c, "positional inputs must come before keyword inputs");
  if (!name) g->positional++;
  g->inputs++;
  return LS_OK;
}

static ls_status check_fields(ls__check *c) {
  static const char *const all[] = {"node", "do", "name", "arguments", "autograd", NULL};
  static const char *const call[] = {"node", "do", "arguments", "function", "autograd", NULL};
  static const char *const two_forms[] = {"node", "do", "arguments", "plain", "fused", "autograd", NULL};
  static const char *const edit[] = {"node", "do", "name", "arguments", "saved", "step", "skips", "autograd", "hook", NULL};
  bool in_function = c->at.reader->is_function;
  const char *const *known = !in_function ? edit : c->kind == LS__CALL ? call : c->kind == LS__TWO_FORMS ? two_forms : all;
  ls_status status = ls__read_known(&c->at, c->node, known);
  const json_t *step = json_object_get(c->node, "step"), *skips = json_object_get(c->node, "skips"),
               *saved = json_object_get(c->node, "saved"), *autograd = json_object_get(c->node, "autograd");
  int64_t number;
  if (!status && step && !ls__read_integer(step, 0, MOST_STEPS - 1, &number))
    status = ls__check_wrong(c, "`step` is not a whole number from 0 on, or is too large");
  if (!status && ((skips && !json_is_boolean(skips)) || (saved && !json_is_boolean(saved))))
    status = ls__check_wrong(c, "`skips` or `saved` is neither true nor false");
  if (!status && autograd && !json_is_boolean(autograd)) status = ls__check_wrong(c, "`autograd` is neither true nor false");
  return status;
}

static ls_status check_name(ls__check *c, const rule *r) {
  const json_t *name = json_object_get(c->node, "name");
  bool is_call = c->kind == LS__CALL && !c->at.reader->is_function,
      wanted = is_call || (r->name != FREE && r->name != OPTIONAL);
  if (name && (!json_is_string(name) || !json_string_length(name))) return ls__check_wrong(c, "`name` is not a text");
  if (name && !wanted && r->name != OPTIONAL) return ls__check_wrong(c, "a node of this kind cannot have a name");
  if (!name && wanted) return ls__check_wrong(c, "the node has no name");
  c->at.name = json_string_value(name);
  return LS_OK;
}

/* Checks how a node of a stored edit belongs to a call with points of its own (trace/hook.c). Such a call has a number, `hook`, once in an
   edit; behind it stands the node with its result, whose argument is the call. The other nodes with the number name a point inside the call. */
static ls_status check_hook(ls__check *c) {
  const json_t *hook = json_object_get(c->node, "hook"), *list = json_object_get(c->node, "arguments"),
               *of = json_object_get(json_array_get(list, 0), "node");
  bool inside = c->kind == LS__SEE || c->kind == LS__PUT, is_result = c->kind == LS__SEE && json_array_size(list);
  int32_t awaited = c->awaited;
  int64_t number = -1;
  c->hook = c->awaited = -1;
  if (hook && !inside && (c->kind != LS__CALL || c->at.reader->is_function))
    return ls__check_wrong(c, "a node of this kind belongs to no call with points of its own, so it cannot have a `hook`");
  if ((hook || inside) && !ls__read_integer(hook, 0, c->graph->hooks - 1, &number))
    return ls__check_wrong(c, "`hook` is not the number of one of the %d calls in the list `hooks` of the edit", c->graph->hooks);
  if (is_result ? awaited < 0 || number != awaited : awaited >= 0)
    return ls__check_wrong(c, "the result of a call with points of its own (`hook`) must stand behind the call, and nowhere else");
  if (is_result && !ls__read_integer(of, c->at.node - 1, c->at.node - 1, &number))
    return ls__check_wrong(c, "the argument of the result of a call is not the call");
  if (c->kind == LS__SEE && is_result == (c->at.name != NULL))
    return ls__check_wrong(c, is_result ? "the result of a call cannot have a name" : "the node does not name a point");
  c->hook = is_result ? awaited : (int32_t)number;
  if (c->hook < 0 || inside) return LS_OK;
  if (c->called[c->hook]) return ls__check_wrong(c, "an earlier call has the same number (`hook`)");
  c->called[c->hook] = 1;
  c->awaited = c->hook;
  return LS_OK;
}

static ls_status check_node(ls__check *c) {
  const json_t *word = json_object_get(c->node, "do");
  int64_t number;
  char shown[LS__READ_SHOWN];
  c->at.kind = c->at.name = NULL;
  c->has_node = false;
  if (!json_is_object(c->node)) return ls__check_wrong(c, "the node is not an object");
  if (!json_is_string(word)) return ls__check_wrong(c, "the node does not have a kind (`do`)");
  c->kind = ls__node_kind_of(json_string_value(word));
  if (c->kind < 0) return ls__check_wrong(c, "the kind of node \"%s\" is not known", ls__read_shown(word, shown));
  c->at.kind = ls__node_word(c->kind);
  static const rule none;
  const rule *r = c->kind < (int32_t)(sizeof rules / sizeof *rules) ? &rules[c->kind] : &none;
  if (!(r->where & (c->at.reader->is_function ? FUNCTION : EDIT))) return ls__check_wrong(c, "%s", reason(c->kind));
  if (!ls__read_integer(json_object_get(c->node, "node"), c->at.node, c->at.node, &number))
    return ls__check_wrong(c, "the node's number (`node`) is not its place in the list");
  const ls_op *op = NULL;
  ls_status status = check_fields(c);
  if (!status) status = check_name(c, r);
  if (!status && c->kind == LS__OP) status = check_operator(c, &op);
  if (!status) status = check_hook(c);
  bool begins = c->awaited >= 0; /* whether the node begins a call whose result is the next node */
  if (!status && !(c->kind == LS__SEE && json_object_get(c->node, "arguments"))) status = check_arguments(c, r, op);
  if (!status) status = check_first(c);
  if (!status && c->kind == LS__INPUT) status = check_input(c);
  if (!status && c->kind == LS__CALL) status = c->at.reader->is_function ? check_call(c) : note_call(c);
  if (!status && c->kind == LS__TWO_FORMS) status = check_two_forms(c);
  if (!status && c->kind == LS__TAP) {
    c->graph->slots++;
    c->graph->points++;
  }
  c->gives[c->at.node] = r->gives && !begins;
  return status;
}

/* ---- a graph ----------------------------------------------------------------------------------------------------- */

static ls_status check_result(ls__check *c) {
  const json_t *result = c->graph->result;
  c->at.kind = c->at.name = NULL;
  c->has_node = false;
  if (!result) return ls__check_wrong(c, "the function has no result");
  /* the result may refer to every node, since it is checked as if it came after the last one */
  c->at.node = (int32_t)json_array_size(c->graph->nodes);
  ls_status status = ls__check_value(c, result, 0, false);
  if (!status && c->has_node && !json_object_get(result, "node"))
    status = ls__check_wrong(c, "the result is a sequence with a node inside; make the sequence a node");
  if (!status && ls__read_is_list(result)) status = ls__check_wrong(c, "the result is a list, which a function cannot return");
  return status;
}

ls_status ls__read_check(ls_reader *r, int32_t graph) {
  ls__check c = {.at = {.reader = r, .graph = graph, .node = -1}, .graph = &r->graphs[graph], .hook = -1, .awaited = -1};
  const json_t *nodes = c.graph->nodes;
  if (!ls__read_is_list(nodes)) return ls__read_fail(&c.at, LS_ERROR_FORMAT, "the field `nodes` of the function or edit is not a list");
  c.gives = calloc(json_array_size(nodes) + 1, 1);
  c.called = calloc((size_t)c.graph->hooks + 1, 1);
  ls_status status = c.gives && c.called ? LS_OK : ls__fail(LS_ERROR_MEMORY, "%s: out of memory for the nodes of the file", r->name);
  c.graph->calls = 1;
  c.graph->points = 2;
  for (size_t i = 0; i < json_array_size(nodes) && !status; i++) {
    c.at.node = (int32_t)i;
    c.node = json_array_get(nodes, i);
    status = check_node(&c);
  }
  if (!status && r->is_function) status = check_result(&c);
  if (!status && c.awaited >= 0) status = ls__check_wrong(&c, "the result of the call is missing");
  for (int32_t i = 0; i < c.graph->hooks && !status; i++)
    if (!c.called[i]) {
      c.at.node = -1;
      status = ls__read_fail(&c.at, LS_ERROR_FORMAT, "the edit has no call for number %d of its list `hooks`", i);
    }
  free(c.called);
  free(c.gives);
  return status;
}
