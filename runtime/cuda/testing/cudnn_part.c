// A part of cuDNN that is there, and has nothing.
