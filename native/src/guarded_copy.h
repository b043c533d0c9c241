// Copies from memory that may go away meanwhile: a caller can detach or shrink an ArrayBuffer that a thread still reads.
#pragma once

#include <cstddef>

namespace braid {

// Makes faults of guardedCopy errors of its own; every other fault goes where it went before. Once for the process.
void guardCopies();

// Returns whether `from` could be read; where not, what `to` holds is undefined.
bool guardedCopy(void *to, const void *from, size_t bytes);

} // namespace braid
