# Finds libtorch: headers and the two libraries that are used, libtorch_cpu and libc10. In this order:
#   1. the one the user names: Torch_DIR or CMAKE_PREFIX_PATH, as cache or environment variable;
#   2. the one inside a `torch` that python3 can import (it is located, not imported);
#   3. a CPU wheel, fetched with pip into the build folder;
#   4. Debian's libtorch-dev.
# Gives the target `libtorch` and says which one it took and why. The answer is kept in the cache until it no longer
# holds. TorchConfig.cmake is not used: it asks for CUDA, MKL and Kineto, of which nothing is needed here.
set(LUASIGHT_TORCH_PIN 2.13.0) # the wheel of way 3
set(LUASIGHT_TORCH_INDEX "" CACHE STRING "Index of CPU wheels of torch for pip; empty: where pip looks by itself")

# Takes `folder`, or the first folder above it that holds a libtorch; leaves `found_root` and `found_lib`.
function(ls_look_in folder)
  set(found_root "" PARENT_SCOPE)
  get_filename_component(folder "${folder}" ABSOLUTE)
  while(TRUE)
    foreach(lib lib lib64 "lib/${CMAKE_LIBRARY_ARCHITECTURE}")
      if(EXISTS "${folder}/${lib}/libtorch_cpu.so" AND EXISTS "${folder}/${lib}/libc10.so"
          AND EXISTS "${folder}/include/ATen/ATen.h")
        set(found_root "${folder}" PARENT_SCOPE)
        set(found_lib "${folder}/${lib}" PARENT_SCOPE)
        return()
      endif()
    endforeach()
    get_filename_component(parent "${folder}" DIRECTORY)
    if(parent STREQUAL folder)
      return()
    endif()
    set(folder "${parent}")
  endwhile()
endfunction()

macro(ls_take why)
  set(torch_root "${found_root}")
  set(torch_lib "${found_lib}")
  set(torch_why "${why}")
endmacro()

set(torch_named "${Torch_DIR};$ENV{Torch_DIR};${CMAKE_PREFIX_PATH};$ENV{CMAKE_PREFIX_PATH}")
string(REPLACE ":" ";" torch_named "${torch_named}")
list(REMOVE_ITEM torch_named "" "Torch_DIR-NOTFOUND")

set(torch_root "")
if(LUASIGHT_TORCH_ROOT AND "${LUASIGHT_TORCH_NAMED}" STREQUAL "${torch_named}")
  ls_look_in("${LUASIGHT_TORCH_ROOT}")
  if(found_root STREQUAL LUASIGHT_TORCH_ROOT)
    ls_take("${LUASIGHT_TORCH_WHY}")
  endif()
endif()

# 1. named
if(NOT torch_root)
  foreach(folder IN LISTS torch_named)
    if(NOT torch_root)
      ls_look_in("${folder}")
      if(found_root)
        ls_take("named by Torch_DIR or CMAKE_PREFIX_PATH")
      endif()
    endif()
  endforeach()
  if(NOT torch_root AND (Torch_DIR OR DEFINED ENV{Torch_DIR}))
    message(FATAL_ERROR "Torch_DIR is ${Torch_DIR}$ENV{Torch_DIR}, but there is no libtorch with headers at or above it")
  endif()
endif()

# 2. python3's
if(NOT torch_root)
  find_program(LUASIGHT_PYTHON NAMES python3 DOC "python3, to look for a torch and to run pip")
  mark_as_advanced(LUASIGHT_PYTHON)
  if(LUASIGHT_PYTHON)
    execute_process(COMMAND "${LUASIGHT_PYTHON}" -c
      "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
      OUTPUT_VARIABLE folder ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(folder)
      ls_look_in("${folder}")
      if(found_root)
        ls_take("python3 imports this torch")
      endif()
    endif()
  endif()
endif()

# 3. fetched
if(NOT torch_root)
  set(wheel "${LUASIGHT_TORCH_FETCH_DIR}")
  ls_look_in("${wheel}/torch")
  if(NOT found_root AND LUASIGHT_PYTHON AND LUASIGHT_FETCH_TORCH)
    message(STATUS "libtorch: fetching the CPU wheel of torch ${LUASIGHT_TORCH_PIN} with pip into ${wheel}")
    file(REMOVE_RECURSE "${wheel}.part")
    # Where pip looks by itself there may be a CPU build under its own version, or only the usual one, of whose libraries
    # the CPU ones are used. LUASIGHT_TORCH_INDEX names an index of CPU wheels.
    set(index "")
    if(LUASIGHT_TORCH_INDEX)
      set(index "--index-url=${LUASIGHT_TORCH_INDEX}")
    endif()
    foreach(wanted "${LUASIGHT_TORCH_PIN}+cpu" "${LUASIGHT_TORCH_PIN}")
      if(NOT EXISTS "${wheel}/torch")
        execute_process(COMMAND "${LUASIGHT_PYTHON}" -m pip install --no-deps --only-binary=:all: --retries 1
          --quiet ${index} --target "${wheel}.part" "torch==${wanted}"
          RESULT_VARIABLE failed ERROR_VARIABLE pip_said)
        if(NOT failed)
          file(REMOVE_RECURSE "${wheel}")
          file(RENAME "${wheel}.part" "${wheel}")
        endif()
      endif()
    endforeach()
    if(failed)
      string(REGEX REPLACE "\n+$" "" pip_said "${pip_said}")
      string(REGEX REPLACE ".*\n" "" pip_said "${pip_said}")
      message(STATUS "libtorch: none was fetched (${pip_said})")
    endif()
    ls_look_in("${wheel}/torch")
  endif()
  if(found_root) # one built for CUDA may ask for libraries of packages that were not fetched
    execute_process(COMMAND ldd "${found_lib}/libtorch_cpu.so" OUTPUT_VARIABLE needed ERROR_QUIET)
    if(needed MATCHES "([^ \t\n]+) => not found")
      message(STATUS "libtorch: the fetched wheel is not usable, it needs ${CMAKE_MATCH_1}")
      set(found_root "")
    endif()
  endif()
  if(found_root)
    ls_take("a CPU wheel fetched with pip: no other was named, python3 has none")
  endif()
endif()

# 4. Debian's
if(NOT torch_root)
  ls_look_in("/usr")
  if(found_root)
    ls_take("libtorch-dev of the system: no other was found")
  endif()
endif()

if(NOT torch_root)
  message(FATAL_ERROR "No libtorch was found. Do one of these:\n"
    "  - name one: cmake -D CMAKE_PREFIX_PATH=/path/to/libtorch\n"
    "  - install one for python3: pip install torch\n"
    "  - have pip at hand and a network, so that a CPU wheel can be fetched\n"
    "  - install Debian's: apt-get install libtorch-dev")
endif()

file(STRINGS "${torch_root}/include/torch/csrc/api/include/torch/version.h" torch_lines
  REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
if(NOT torch_lines) # moved in 2.8
  file(STRINGS "${torch_root}/include/torch/headeronly/version.h" torch_lines
    REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
endif()
string(REGEX REPLACE "[^0-9;]" "" torch_version "${torch_lines}")
string(REPLACE ";" "." torch_version "${torch_version}")
message(STATUS "libtorch ${torch_version}: ${torch_root} (${torch_why})")

set(LUASIGHT_TORCH_ROOT "${torch_root}" CACHE INTERNAL "the libtorch in use")
set(LUASIGHT_TORCH_WHY "${torch_why}" CACHE INTERNAL "how it was found")
set(LUASIGHT_TORCH_NAMED "${torch_named}" CACHE INTERNAL "what the user named when it was found")

add_library(libtorch INTERFACE)
target_compile_definitions(libtorch INTERFACE AT_PER_OPERATOR_HEADERS) # a file reads what it includes: half the time
target_include_directories(libtorch SYSTEM INTERFACE "${torch_root}/include"
  "${torch_root}/include/torch/csrc/api/include")
target_link_libraries(libtorch INTERFACE "${torch_lib}/libtorch_cpu.so" "${torch_lib}/libc10.so")
if(torch_version VERSION_LESS 2.10)
  set(torch_standard 17)
else()
  set(torch_standard 20)
endif()
# Which std::string the library was built with: wheels up to 2.6 have the old one, which shows in the names of functions.
file(STRINGS "${torch_lib}/libc10.so" torch_old_abi REGEX "torchCheckFailEPKcS[0-9]_jRKSs" LIMIT_COUNT 1)
if(torch_old_abi)
  target_compile_definitions(libtorch INTERFACE _GLIBCXX_USE_CXX11_ABI=0)
else()
  target_compile_definitions(libtorch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
endif()
