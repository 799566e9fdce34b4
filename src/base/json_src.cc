// Boost.JSON itself, compiled once: no Boost library is linked.
#include <boost/json/src.hpp>
