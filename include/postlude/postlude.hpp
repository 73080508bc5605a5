// The whole public C++ API of Postlude.
#pragma once

#include "postlude/activation.hpp"
#include "postlude/bound.hpp"
#include "postlude/context.hpp"
#include "postlude/epilogue.hpp"
#include "postlude/error.hpp"
#include "postlude/norm.hpp"
#include "postlude/ops.hpp"
#include "postlude/params.hpp"
#include "postlude/stream.hpp"
#include "postlude/tensor_view.hpp"
#include "postlude/tuning.hpp"
#include "postlude/version.hpp"
#include "postlude/weight.hpp"
