# CMake package of mcucompile: models as libraries, programs under QEMU.
#
#     find_package(mcucompile CONFIG REQUIRED)   # -Dmcucompile_DIR=$(mcucompile cmake-dir)
#     mcucompile_add_model(digits
#         MODEL digits.onnx BOARD stm32f746
#         [CALIBRATION calib.npz] [NAME digits] [OPTIMIZE time|balanced|ram] [OPTIONS --ram 60000]
#         [REPORT digits.html])                  # or .txt, .json: the report, also here
#     target_link_libraries(firmware PRIVATE digits)
#
# makes the static library `digits`, with the alias mcucompile::digits, whose generated header
# <digits.h> is on the include path of whoever links it. The model is compiled again when it, its
# calibration data, its board file or the compiler changes, and not otherwise; what is generated is
# written only where it differs. The folder of generated files, with the report, is the target's
# property MCUCOMPILE_DIR. add_subdirectory and FetchContent of the project give the same commands.
#
#     mcucompile_qemu_program(demo)
#
# completes the executable `demo`, built with one of the toolchain files beside this file, with
# start-up code, memory map and a console, so that it runs in QEMU as an ordinary program: by
# `qemu-system-arm`, by ctest, and by custom commands that name the target.
#
#     mcucompile_board_program(demo BOARD stm32f746 [STACK 4096])
#
# completes it for the board itself: with its memory map, its clocks and caches, and its UART as the
# console. Beside demo.elf there are demo.hex and demo.bin, to be flashed as docs/boards.md says.
#
# MCUCOMPILE_COMMAND is how mcucompile is started: by default the one that this file belongs to,
# else the program on PATH, else a Python 3 that has it.

include_guard(GLOBAL)
cmake_policy(PUSH)
cmake_policy(VERSION 3.21)

add_library(mcucompile_runtime INTERFACE)
add_library(mcucompile::runtime ALIAS mcucompile_runtime)
target_include_directories(mcucompile_runtime
  INTERFACE ${CMAKE_CURRENT_LIST_DIR}/../runtime_c/include)
target_compile_features(mcucompile_runtime INTERFACE c_std_99)

# Sets MCUCOMPILE_COMMAND in the cache, or stops with the reason.
function(_mcucompile_find_command)
  if(MCUCOMPILE_COMMAND)
    return()
  endif()
  # In a wheel this file is <prefix>/lib/python3.x/site-packages/mcucompile/_data/cmake/<this>.
  set(prefix ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../../../../..)
  set(checkout ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/..)
  find_program(MCUCOMPILE_EXECUTABLE mcucompile HINTS ${prefix}/bin NO_CMAKE_FIND_ROOT_PATH)
  find_package(Python3 3.11 QUIET COMPONENTS Interpreter)
  set(candidates)
  if(EXISTS ${checkout}/mcucompile/cli.py AND Python3_EXECUTABLE)
    cmake_path(ABSOLUTE_PATH checkout NORMALIZE OUTPUT_VARIABLE checkout)
    list(APPEND candidates
      "${CMAKE_COMMAND}|-E|env|PYTHONPATH=${checkout}|${Python3_EXECUTABLE}|-m|mcucompile")
  endif()
  if(MCUCOMPILE_EXECUTABLE)
    list(APPEND candidates "${MCUCOMPILE_EXECUTABLE}")
  endif()
  list(APPEND candidates "${Python3_EXECUTABLE}|-m|mcucompile")
  foreach(candidate IN LISTS candidates)
    string(REPLACE "|" ";" command "${candidate}")
    execute_process(COMMAND ${command} --version RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
    if(status EQUAL 0)
      set(MCUCOMPILE_COMMAND ${command} CACHE STRING "How mcucompile is started")
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "mcucompile is neither on PATH nor a module of Python 3: activate its "
    "virtual environment, or set MCUCOMPILE_COMMAND")
endfunction()

function(mcucompile_add_model target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "MODEL;BOARD;CALIBRATION;NAME;OPTIMIZE;REPORT" "OPTIONS")
  if(NOT arg_MODEL OR NOT arg_BOARD OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "mcucompile_add_model(${target} MODEL file BOARD board [CALIBRATION file] "
      "[NAME name] [OPTIMIZE time|balanced|ram] [REPORT file.html|txt|json] [OPTIONS option...])")
  endif()
  if(NOT arg_NAME)
    set(arg_NAME ${target})
  endif()
  if(NOT arg_NAME MATCHES "^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
    message(FATAL_ERROR "'${arg_NAME}' cannot prefix C symbols: give a lower-case NAME")
  endif()
  _mcucompile_find_command()

  cmake_path(ABSOLUTE_PATH arg_MODEL)
  set(depends ${arg_MODEL})
  if(arg_BOARD MATCHES "\\.toml$")
    cmake_path(ABSOLUTE_PATH arg_BOARD)
    list(APPEND depends ${arg_BOARD})
  endif()
  set(options --board ${arg_BOARD} ${arg_OPTIONS})
  if(arg_CALIBRATION)
    cmake_path(ABSOLUTE_PATH arg_CALIBRATION)
    string(REGEX REPLACE ":[A-Za-z0-9_]+$" "" calibration_file ${arg_CALIBRATION})
    list(APPEND depends ${calibration_file})
    list(APPEND options --calib ${arg_CALIBRATION})
  endif()
  if(arg_OPTIMIZE)
    list(APPEND options -O ${arg_OPTIMIZE})
  endif()

  # The depfile names everything else. The stamp is what is newer than all of it; the sources may
  # be older, where a compilation has not changed them.
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${target}.mcucompile)
  set(sources ${folder}/${arg_NAME}.c ${folder}/${arg_NAME}_weights.c ${folder}/${arg_NAME}.h)
  set(reports ${folder}/${arg_NAME}_report.json ${folder}/${arg_NAME}_report.txt
    ${folder}/${arg_NAME}_report.html)
  set(copy_report)
  if(arg_REPORT)
    cmake_path(ABSOLUTE_PATH arg_REPORT BASE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
    cmake_path(GET arg_REPORT EXTENSION LAST_ONLY extension)
    set(copy_report COMMAND ${CMAKE_COMMAND} -E copy
      ${folder}/${arg_NAME}_report${extension} ${arg_REPORT})
    list(APPEND reports ${arg_REPORT})
  endif()
  add_custom_command(
    OUTPUT ${folder}.stamp ${sources}
    BYPRODUCTS ${reports}
    COMMAND ${MCUCOMPILE_COMMAND} ${arg_MODEL} ${options} --name ${arg_NAME} --quiet
            --output ${folder} --depfile ${folder}.stamp.d > ${folder}.log
    ${copy_report}
    COMMAND ${CMAKE_COMMAND} -E touch ${folder}.stamp
    DEPENDS ${depends}
    DEPFILE ${folder}.stamp.d
    COMMENT "Compiling ${arg_MODEL} for ${arg_BOARD}"
    VERBATIM)

  add_library(${target} STATIC ${sources})
  add_library(mcucompile::${target} ALIAS ${target})
  target_link_libraries(${target} PUBLIC mcucompile::runtime)
  target_include_directories(${target} PUBLIC ${folder})
  # The figures in the report hold for these flags.
  target_compile_options(${target} PRIVATE -O2 -ffunction-sections -fdata-sections)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "arm" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fno-schedule-insns -mno-unaligned-access)
  endif()
  set_target_properties(${target} PROPERTIES MCUCOMPILE_DIR ${folder})
endfunction()

set(_MCUCOMPILE_SUPPORT ${CMAKE_CURRENT_LIST_DIR}/../boards/support)

function(mcucompile_qemu_program target)
  if(MCUC_CPU_FLAGS MATCHES "cortex-m7")
    set(machine mps2-an500)
  elseif(MCUC_CPU_FLAGS MATCHES "cortex-m4")
    set(machine mps2-an386)
  else()
    message(FATAL_ERROR "mcucompile_qemu_program needs one of the toolchain files in "
      "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
  endif()
  target_sources(${target} PRIVATE
    ${_MCUCOMPILE_SUPPORT}/startup.c ${_MCUCOMPILE_SUPPORT}/newlib_stubs.c
    ${_MCUCOMPILE_SUPPORT}/semihosting_stdio.c)
  target_link_options(${target} PRIVATE
    -nostartfiles --specs=nano.specs -Wl,--wrap=main -T ${_MCUCOMPILE_SUPPORT}/mps2.ld)
  set(qemu qemu-system-arm -M ${machine} -nographic -monitor none -serial none
    -semihosting-config enable=on,target=native -kernel)
  set_target_properties(${target} PROPERTIES
    SUFFIX .elf
    LINK_DEPENDS ${_MCUCOMPILE_SUPPORT}/mps2.ld
    CROSSCOMPILING_EMULATOR "${qemu}")
endfunction()

function(mcucompile_board_program target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "BOARD;STACK" "")
  if(NOT EXISTS ${_MCUCOMPILE_SUPPORT}/${arg_BOARD}.c)
    message(FATAL_ERROR "mcucompile_board_program(${target} BOARD board [STACK bytes]): there is no "
      "${_MCUCOMPILE_SUPPORT}/${arg_BOARD}.c")
  endif()
  if(NOT arg_STACK)
    set(arg_STACK 4096)
  endif()
  _mcucompile_find_command()
  set(script ${CMAKE_CURRENT_BINARY_DIR}/${target}.ld)
  execute_process(
    COMMAND ${MCUCOMPILE_COMMAND} linker-script --board ${arg_BOARD} --stack ${arg_STACK}
    OUTPUT_FILE ${script} COMMAND_ERROR_IS_FATAL ANY)
  target_sources(${target} PRIVATE
    ${_MCUCOMPILE_SUPPORT}/startup.c ${_MCUCOMPILE_SUPPORT}/newlib_stubs.c
    ${_MCUCOMPILE_SUPPORT}/uart_stdio.c ${_MCUCOMPILE_SUPPORT}/${arg_BOARD}.c)
  target_link_options(${target} PRIVATE
    -nostartfiles --specs=nano.specs -Wl,--wrap=main -T ${script})
  set_target_properties(${target} PROPERTIES SUFFIX .elf LINK_DEPENDS ${script})
  set(stem $<TARGET_FILE_DIR:${target}>/${target})
  add_custom_command(TARGET ${target} POST_BUILD
    COMMAND ${CMAKE_OBJCOPY} -O ihex $<TARGET_FILE:${target}> ${stem}.hex
    COMMAND ${CMAKE_OBJCOPY} -O binary $<TARGET_FILE:${target}> ${stem}.bin
    VERBATIM)
endfunction()

cmake_policy(POP)
