# SPDX-License-Identifier: MPL-2.0
#
# Run by CPack on what it installed, before it packs: manual pages are compressed, as distributions
# have them, and a deb gets the documents that Debian's policy asks for (12.3, 12.5, 12.7). Takes
# SOURCE_DATE_EPOCH for the time of the build.
set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
set(doc ${root}/share/doc/vmctl)
set(here ${CPACK_VMCTL_SOURCE}/.package)

function(compress)
  execute_process(COMMAND gzip -9n ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(GLOB_RECURSE pages ${root}/share/man/*)
compress(${pages})

if(CPACK_GENERATOR STREQUAL "DEB")
  file(COPY_FILE ${CPACK_VMCTL_SOURCE}/CHANGELOG.md ${doc}/changelog)
  string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
  file(WRITE ${doc}/changelog.Debian "vmctl (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium

  * Version ${CPACK_PACKAGE_VERSION}: see changelog.gz.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
  compress(${doc}/changelog ${doc}/changelog.Debian)
  file(COPY_FILE ${here}/deb/copyright ${doc}/copyright)
  file(MAKE_DIRECTORY ${root}/share/lintian/overrides)
  file(COPY_FILE ${here}/deb/lintian-overrides ${root}/share/lintian/overrides/vmctl)
else()
  file(COPY_FILE ${CPACK_VMCTL_SOURCE}/CHANGELOG.md ${doc}/CHANGELOG.md)
  file(MAKE_DIRECTORY ${root}/share/licenses/vmctl)
  file(COPY_FILE ${CPACK_VMCTL_SOURCE}/LICENSE ${root}/share/licenses/vmctl/LICENSE)
endif()
file(GLOB_RECURSE files ${root}/share/*)
foreach(file ${files})
  if(NOT file MATCHES "(run|install|uninstall|init)$")
    file(CHMOD ${file} PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  endif()
endforeach()
# An rpm keeps the time of each file, and cuts off only what is later.
if(DEFINED ENV{SOURCE_DATE_EPOCH})
  execute_process(COMMAND find ${root} -exec touch --no-dereference --date=@$ENV{SOURCE_DATE_EPOCH} {} +
    COMMAND_ERROR_IS_FATAL ANY)
endif()
