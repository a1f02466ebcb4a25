# The library as others use it: one shared object with the C++ API, its headers, a CMake package and a
# pkg-config file.
include(CMakePackageConfigHelpers)

file(WRITE ${CMAKE_BINARY_DIR}/empty.cc "")
add_library(cofferdam_shared SHARED ${CMAKE_BINARY_DIR}/empty.cc)
add_library(cofferdam::cofferdam ALIAS cofferdam_shared)
set_target_properties(cofferdam_shared PROPERTIES
  OUTPUT_NAME cofferdam EXPORT_NAME cofferdam VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
# Whole, because nothing in this file refers to it.
target_link_libraries(cofferdam_shared PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,cofferdam_platform> cofferdam_sanitizers)
target_include_directories(cofferdam_shared INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(cofferdam_shared INTERFACE cxx_std_23)

install(TARGETS cofferdam_shared EXPORT CofferdamTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/cofferdam DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT CofferdamTargets NAMESPACE cofferdam:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Cofferdam
  FILE CofferdamTargets.cmake)
configure_package_config_file(cmake/CofferdamConfig.cmake.in ${CMAKE_BINARY_DIR}/CofferdamConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Cofferdam)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/CofferdamConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/CofferdamConfig.cmake ${CMAKE_BINARY_DIR}/CofferdamConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Cofferdam)
file(RELATIVE_PATH PREFIX_FROM_PC /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(cmake/cofferdam.pc.in ${CMAKE_BINARY_DIR}/cofferdam.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/cofferdam.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
