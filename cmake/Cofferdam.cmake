# How every folder under src/ is built: one library target per folder, with its dependencies named,
# and one test program from its *_test.cc files.

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1" CACHE STRING "")
set(CMAKE_C_FLAGS_SANITIZE "-O1 -g1" CACHE STRING "")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Assertions stay on in release.
string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
string(REPLACE "-O3" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Warnings and hardening, for everything.
add_library(cofferdam_options INTERFACE)
target_compile_options(cofferdam_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wcast-qual -Wformat=2 -Wimplicit-fallthrough -Werror
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op>
  # GNU 12 reports false overlaps and dangling pointers inside libstdc++ at -O2.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-maybe-uninitialized>
  -fstack-protector-strong -fno-strict-aliasing
  $<$<CXX_COMPILER_ID:GNU>:-fstack-clash-protection -fcf-protection>)
target_compile_definitions(cofferdam_options INTERFACE _GLIBCXX_ASSERTIONS
  $<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
target_link_options(cofferdam_options INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
target_include_directories(cofferdam_options INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/src> $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>)

# Sanitizers, for everything but the static worker.
add_library(cofferdam_sanitizers INTERFACE)
if(COFFERDAM_SANITIZE)
  target_compile_options(cofferdam_sanitizers INTERFACE
    -fsanitize=${COFFERDAM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<$<BOOL:${COFFERDAM_FUZZ}>:-fsanitize=fuzzer-no-link>)
  target_link_options(cofferdam_sanitizers INTERFACE -fsanitize=${COFFERDAM_SANITIZE})
endif()

# cofferdam_library(name SOURCES… DEPS other folders… LIBRARIES third party… [WORKER])
# WORKER: the folder is also linked into the static worker, so a variant without sanitizers is made.
function(cofferdam_library name)
  cmake_parse_arguments(ARG "WORKER" "" "SOURCES;DEPS;LIBRARIES" ${ARGN})
  add_library(cofferdam_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(cofferdam_${name} PUBLIC cofferdam_options cofferdam_sanitizers ${ARG_LIBRARIES})
  foreach(dep ${ARG_DEPS})
    target_link_libraries(cofferdam_${name} PUBLIC cofferdam_${dep})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY COFFERDAM_LIBRARIES cofferdam_${name})
  if(ARG_WORKER)
    add_library(cofferdam_${name}_worker STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES})
    target_link_libraries(cofferdam_${name}_worker PUBLIC cofferdam_options)
    foreach(dep ${ARG_DEPS})
      target_link_libraries(cofferdam_${name}_worker PUBLIC cofferdam_${dep}_worker)
    endforeach()
  endif()
endfunction()

# cofferdam_tests(folder SOURCES *_test.cc DEPS folders… LIBRARIES …): the folder's test program.
function(cofferdam_tests name)
  if(NOT COFFERDAM_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LIBRARIES" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  add_executable(${name}_tests ${ARG_SOURCES})
  target_link_libraries(${name}_tests PRIVATE cofferdam_options cofferdam_sanitizers ${ARG_LIBRARIES}
    GTest::gmock GTest::gtest_main)
  foreach(dep ${ARG_DEPS})
    target_link_libraries(${name}_tests PRIVATE cofferdam_${dep})
  endforeach()
  target_compile_definitions(${name}_tests PRIVATE COFFERDAM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  # One ctest entry per folder: a process per test case would cost more than the tests.
  add_test(NAME ${name} COMMAND ${name}_tests --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT}
    SKIP_REGULAR_EXPRESSION "ALL TESTS SKIPPED")
endfunction()
