/* What the halves of a trace share: trace.c records and plans, edit.c executes at a point. */
#ifndef LUASIGHT_TRACE_H
#define LUASIGHT_TRACE_H
#include "graph.h"
void ls__trace_let_go(ls_graph *g, int32_t id); /* releases a value that nobody waits for */
int32_t ls__trace_above(const ls_graph *g, int32_t id); /* the node that `id` is a view or a piece of, -1: none */

/* narrow.c: calls whose results are used at some positions only */
void ls__narrow_plan(ls_graph *g, int32_t last); /* `last`: the point at which the run ends */
#endif
