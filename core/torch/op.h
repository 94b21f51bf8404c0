// An operator: all overloads that libtorch has registered under one name.
#ifndef LUASIGHT_TORCH_OP_H
#define LUASIGHT_TORCH_OP_H
#include <ATen/core/dispatch/Dispatcher.h>
#include <string>
#include <vector>
#include "torch/written.h"

struct ls_op {
  std::string name;  // the name of the operator without "aten::"
  std::vector<c10::OperatorHandle> overloads;
  std::vector<luasight::Written> written;  // for each overload the arguments that the overload changes
  bool addresses;                          // whether numbers in the arguments say where in memory the result is, see goes_by_places
  bool cuts;                               // whether a number beside a tensor takes the tensor's dtype, see cuts_numbers
  bool views;                              // whether the result is a view although the schema does not say so, see returns_undeclared_views
  bool returns;                            // whether the result may be an argument or a view of one, see may_return_arguments
};

#endif
