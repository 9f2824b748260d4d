//! Models of Vicar's protocols. A model is small enough for all of its executions to be tried; models/README.md says
//! what is in it and what is not.

#![allow(clippy::indexing_slicing, reason = "a model that looks past an end is wrong, and its test fails")]

pub mod memory;
