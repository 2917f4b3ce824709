# Toolchain of all Arm microcontrollers. The files arm-none-eabi-<core>.cmake set MCUC_CPU_FLAGS
# and include this one:
#
#     cmake -B build --toolchain $(mcucompile cmake-dir)/arm-none-eabi-m4f.cmake
#
# It sets what the core and every figure in reports depend on; start-up code, linker script and C
# library are the firmware's own.

set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)

set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_ASM_COMPILER arm-none-eabi-gcc)

# CMake tries the compiler out on a library: a program would need a linker script.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

foreach(language C CXX ASM)
  set(CMAKE_${language}_FLAGS_INIT "${MCUC_CPU_FLAGS}")
endforeach()
set(CMAKE_EXE_LINKER_FLAGS_INIT "${MCUC_CPU_FLAGS} -Wl,--gc-sections")

# Programs are this machine's; libraries and headers are the target's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
