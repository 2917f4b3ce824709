# Cortex-M4 with floating-point unit (STM32F4/L4/G4, nRF52, Apollo3, ...).
set(MCUC_CPU_FLAGS "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard")
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
