//! Part of every target: an input that asks for more memory than this is a crash.

#[global_allocator]
static MEMORY: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, 512 << 20);
