// unique: where draws lie of which a batch has none twice (plans/blocks.py says how).
//
//   in   the lanes that wait: how far each has come in which pass of its class; the classes' blocks
//   out  their places in the classes
#pragma once
#include "members.h"

void permute_in_blocks(Back *back);
