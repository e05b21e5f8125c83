# SPDX-License-Identifier: MPL-2.0
#
# vmctl_embed_bytes(TARGET PATH [PROGRAM]): a header PATH.h in the build tree, included by its path in
# the source tree, with the bytes of the file that the target PROGRAM makes; of none without one.
#
# vmctl_embed_files(TARGET FILE...): for each file a header FILE.h, likewise, with an array FILE_TYPE[].
#
# Run as a script (cmake -DSOURCE=FILE -DNAME=NAME -DHEADER=FILE.h -P bytes.cmake) it makes the header.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(VMCTL_EMBED_BYTES_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

  function(vmctl_embed_bytes target path)
    file(RELATIVE_PATH relative ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${path})
    get_filename_component(name ${path} NAME)
    set(header ${CMAKE_BINARY_DIR}/embedded/${relative}.h)
    if(ARGN)
      set(source -DSOURCE=$<TARGET_FILE:${ARGN}>)
    endif()
    add_custom_command(OUTPUT ${header}
      COMMAND ${CMAKE_COMMAND} ${source} -DNAME=${name} -DHEADER=${header} -P ${VMCTL_EMBED_BYTES_SCRIPT}
      DEPENDS ${ARGN} ${VMCTL_EMBED_BYTES_SCRIPT} VERBATIM)
    target_sources(${target} PRIVATE ${header})
  endfunction()

  function(vmctl_embed_files target)
    foreach(file ${ARGN})
      get_filename_component(source ${file} ABSOLUTE)
      get_filename_component(name ${source} NAME)
      file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${source})
      string(MAKE_C_IDENTIFIER ${name} identifier)
      set(header ${CMAKE_BINARY_DIR}/embedded/${path}.h)
      add_custom_command(OUTPUT ${header}
        COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} -DNAME=${identifier} -DHEADER=${header} -P ${VMCTL_EMBED_BYTES_SCRIPT}
        DEPENDS ${source} ${VMCTL_EMBED_BYTES_SCRIPT} VERBATIM)
      target_sources(${target} PRIVATE ${header})
    endforeach()
    target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/embedded)
  endfunction()
  return()
endif()

set(bytes "0")
set(size 0)
if(SOURCE)
  file(READ ${SOURCE} hex HEX)
  string(LENGTH "${hex}" size)
  math(EXPR size "${size} / 2")
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
endif()
string(TOUPPER ${NAME} upper)
file(WRITE ${HEADER} "/* Made by bytes.cmake. */
#pragma once
enum { ${upper}_SIZE = ${size} };
static const unsigned char ${NAME}[] = {
${bytes}
};
")
