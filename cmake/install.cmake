# SPDX-License-Identifier: MIT
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
install(TARGETS rpt RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
get_property(rooms GLOBAL PROPERTY RPT_ROOMS)
install(TARGETS ${rooms} EXPORT rptTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY src/rpt DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY models data DESTINATION ${CMAKE_INSTALL_DATADIR}/rpt)
install(EXPORT rptTargets NAMESPACE rpt:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rpt)
configure_package_config_file(cmake/rptConfig.cmake.in ${PROJECT_BINARY_DIR}/rptConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rpt)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/rptConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/rptConfig.cmake ${PROJECT_BINARY_DIR}/rptConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rpt)
