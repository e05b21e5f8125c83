# SPDX-License-Identifier: MPL-2.0
#
# What is installed beside the programs and their manual pages, and the packages that hold all of it:
# .package/build makes them.
set(VMCTL_ZSH_COMPLETIONS ${CMAKE_INSTALL_DATADIR}/zsh/site-functions CACHE STRING
  "Where zsh looks for completions of programs; Debian's looks in share/zsh/vendor-completions")

# vmctl writes its own completions, so the files are made by the program that is installed.
set(COMPLETIONS ${CMAKE_BINARY_DIR}/completions)
foreach(shell bash zsh fish)
  add_custom_command(OUTPUT ${COMPLETIONS}/${shell}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${COMPLETIONS}
    COMMAND vmctl completion ${shell} > ${COMPLETIONS}/${shell} VERBATIM)
endforeach()
add_custom_target(completions ALL DEPENDS ${COMPLETIONS}/bash ${COMPLETIONS}/zsh ${COMPLETIONS}/fish)
install(FILES ${COMPLETIONS}/bash RENAME vmctl
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${COMPLETIONS}/zsh RENAME _vmctl DESTINATION ${VMCTL_ZSH_COMPLETIONS})
install(FILES ${COMPLETIONS}/fish RENAME vmctl.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

install(FILES ${CMAKE_CURRENT_LIST_DIR}/sysusers.conf RENAME vmctl.conf DESTINATION lib/sysusers.d)
install(FILES README.md specs/VMFILE.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
# The quick start builds vmctl from this repository, the container from its root.
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR}
  PATTERN quickstart/run EXCLUDE PATTERN container EXCLUDE PATTERN .gitignore EXCLUDE PATTERN *.qcow2 EXCLUDE)

# ---- both packages ----

set(CPACK_PACKAGE_NAME vmctl)
set(CPACK_PACKAGE_CONTACT "vmctl maintainers <maintainers@vmctl.invalid>")
set(CPACK_PACKAGE_VENDOR "vmctl")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Run virtual machines as a VMFile describes them")
set(CPACK_PACKAGE_DESCRIPTION
  "vmctl turns a VMFile.kdl into running, provisioned virtual machines on one
Linux host and keeps them running, as docker compose does for containers. Its
controller, vmctld, compares the desired state with the observed state and
acts until the two agree; if either dies, nothing is lost.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_RELOCATABLE OFF)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/prepare.cmake)
set(CPACK_VMCTL_SOURCE ${CMAKE_SOURCE_DIR})

# ---- deb ----

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS
  "openssh-client, qemu-system-x86, qemu-utils, systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, libwebsockets-evlib-ev, node-xterm")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "ovmf, novnc, qemu-efi-aarch64, qemu-system-arm, qemu-system-misc, swtpm, u-boot-qemu, virt-viewer")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/deb/postinst
  ${CMAKE_CURRENT_LIST_DIR}/deb/prerm ${CMAKE_CURRENT_LIST_DIR}/deb/postrm)

# ---- rpm ----

set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_LICENSE MPL-2.0)
set(CPACK_RPM_PACKAGE_RELEASE 1)
set(CPACK_RPM_PACKAGE_REQUIRES "openssh-clients, qemu-system-x86-core, qemu-img, systemd")
set(CPACK_RPM_PACKAGE_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION}")
set(CPACK_RPM_POST_INSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/post)
set(CPACK_RPM_PRE_UNINSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/preun)
set(CPACK_RPM_POST_UNINSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/postun)
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION /usr/share/man /usr/share/man/man1 /usr/share/man/man5
  /usr/share/man/man8 /usr/share/bash-completion /usr/share/bash-completion/completions
  /usr/share/fish /usr/share/fish/vendor_completions.d /usr/share/zsh /usr/share/zsh/site-functions
  /usr/libexec /usr/lib/systemd /usr/lib/systemd/system /usr/lib/systemd/user /usr/lib/sysusers.d
  /usr/share/licenses)
# Reproducible: no host name, no clock.
set(CPACK_RPM_SPEC_MORE_DEFINE "%define _buildhost reproducible
%define use_source_date_epoch_as_buildtime 1
%define clamp_mtime_to_source_date_epoch 1
# Without it all but vmctl-serve works.
%global __requires_exclude ^libwebsockets")

include(CPack)
