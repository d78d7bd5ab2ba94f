//! Pains.
