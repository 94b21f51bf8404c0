// An operator: what libtorch has registered under one name.
#ifndef LUASIGHT_TORCH_OP_H
#define LUASIGHT_TORCH_OP_H
#include <ATen/core/dispatch/Dispatcher.h>
#include <string>
#include <vector>
#include "torch/written.h"

struct ls_op {
  std::string name;  // without "aten::"
  std::vector<c10::OperatorHandle> overloads;
  std::vector<luasight::Written> written;  // by overload
  bool addresses;                          // see goes_by_places
  bool views;                              // see gives_undeclared_views
};

#endif
