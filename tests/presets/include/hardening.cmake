# SPDX-License-Identifier: MPL-2.0
# Release builds are hardened; sanitizer builds must not be (_FORTIFY_SOURCE hides what they look for).
if(VMCTL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link) # coverage in every library, not only in the target
endif()
if(VMCTL_SANITIZE)
  add_compile_options(-fsanitize=${VMCTL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${VMCTL_SANITIZE})
  if(VMCTL_SANITIZE MATCHES "address" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # The tests start thousands of commands; half of a start is relocation, of the runtimes and of
    # the megabytes of data that they add.
    add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-no-pie>
      -static-libasan -static-libubsan)
  endif()
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
  add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> -Wl,-z,relro,-z,now)
endif()
