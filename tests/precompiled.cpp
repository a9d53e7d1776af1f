// SPDX-License-Identifier: MIT
// Nothing: CMake wants a source for the headers that it precompiles for the tests.
