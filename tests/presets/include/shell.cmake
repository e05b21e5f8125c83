# SPDX-License-Identifier: MPL-2.0
#
# vmctl_embed_shell(TARGET FILE.sh...): for each file a header FILE.sh.h in the build tree, included
# by its path in the source tree, which defines the program's text as `static const char FILE_sh[]`.
#
# The text is one line, because the login shell that reads it first in a guest may be csh, which has
# no quotes across lines. So a program is written as any other, but
#   - a comment has its line for itself, and no string spans lines,
#   - ". ./OTHER.sh" on a line includes that file of the same folder.
#
# Run as a script (cmake -DSOURCE=FILE.sh -DHEADER=FILE.sh.h -P shell.cmake) it makes one header.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(VMCTL_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

  function(vmctl_embed_shell target)
    foreach(file ${ARGN})
      get_filename_component(source ${file} ABSOLUTE)
      get_filename_component(folder ${source} DIRECTORY)
      file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${source})
      file(GLOB included CONFIGURE_DEPENDS ${folder}/*.sh)
      set(header ${CMAKE_BINARY_DIR}/embedded/${path}.h)
      add_custom_command(OUTPUT ${header}
        COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} -DHEADER=${header} -P ${VMCTL_EMBED_SCRIPT}
        DEPENDS ${source} ${included} ${VMCTL_EMBED_SCRIPT} VERBATIM)
      target_sources(${target} PRIVATE ${header})
    endforeach()
    target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/embedded)
  endfunction()
  return()
endif()

# A newline ends a command, but behind these words; a line that ends in '\' continues.
function(read_on_one_line file ret)
  file(READ ${file} text)
  string(REGEX REPLACE "\n[ \t]*#[^\n]*" "" text "\n${text}")
  string(REGEX REPLACE "[ \t]*\\\\\n[ \t]*" " " text "${text}")
  string(REGEX REPLACE "\n[ \t\n]*" "\n" text "${text}")
  string(REGEX REPLACE "([ \n](then|do|else|in)|[{&|]|;;)\n" "\\1 " text "${text}")
  string(STRIP "${text}" text)
  set(${ret} "${text}" PARENT_SCOPE)
endfunction()

get_filename_component(folder ${SOURCE} DIRECTORY)
get_filename_component(name ${SOURCE} NAME)
read_on_one_line(${SOURCE} text)
while(text MATCHES "(^|\n)(\\. \\./([a-z_]+\\.sh))(\n|$)")
  set(line "${CMAKE_MATCH_2}")
  read_on_one_line(${folder}/${CMAKE_MATCH_3} included)
  string(REPLACE "${line}" "${included}" text "${text}")
endwhile()
string(REPLACE "\n" "; " text "${text}")
string(REPLACE "$!" "" checked "${text}")
if(checked MATCHES "!")
  message(FATAL_ERROR "${SOURCE}: a '!' other than \"$!\" means an earlier command to csh")
elseif(checked MATCHES "[ \t]#")
  message(FATAL_ERROR "${SOURCE}: a comment must have its line for itself")
endif()

string(REPLACE "\\" "\\\\" text "${text}")
string(REPLACE "\"" "\\\"" text "${text}")
string(REPLACE "; " "; \"\n    \"" text "${text}")
string(MAKE_C_IDENTIFIER ${name} identifier)
file(WRITE ${HEADER} "/* Made from ${name} by shell.cmake. */
#pragma once
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \"-Woverlength-strings\"
static const char ${identifier}[] =
    \"${text}\";
#pragma GCC diagnostic pop
")
