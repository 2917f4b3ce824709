# Cortex-M7 with single-precision floating-point unit (STM32F74x; the others have it as well).
set(MCUC_CPU_FLAGS "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-sp-d16 -mfloat-abi=hard")
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
