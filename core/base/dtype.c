/* The dtypes whose numbers files can hold. */
#include "base/base.h"

/* In the reverse of the order in which the reference writer of safetensors lays out tensors: it writes those with wide elements first. */
static const ls__dtype dtypes[] = {
  {"BOOL", "bool", 1},
  {"U8", "uint8", 1},
  {"I8", "int8", 1},
  {"F8_E5M2", "float8_e5m2", 1},
  {"F8_E4M3", "float8_e4m3fn", 1},
  {"F8_E8M0", "float8_e8m0fnu", 1},
  {"F8_E4M3FNUZ", "float8_e4m3fnuz", 1},
  {"F8_E5M2FNUZ", "float8_e5m2fnuz", 1},
  {"I16", "int16", 2},
  {"U16", "uint16", 2},
  {"F16", "float16", 2},
  {"BF16", "bfloat16", 2},
  {"I32", "int32", 4},
  {"U32", "uint32", 4},
  {"F32", "float32", 4},
  {"C64", "complex64", 8},
  {"F64", "float64", 8},
  {"I64", "int64", 8},
  {"U64", "uint64", 8},
};

const ls__dtype *ls__dtype_coded(const char *code) {
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
    if (!strcmp(dtypes[i].code, code)) return &dtypes[i];
  return NULL;
}

const ls__dtype *ls__dtype_named(const char *name) {
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
    if (!strcmp(dtypes[i].name, name)) return &dtypes[i];
  return NULL;
}
