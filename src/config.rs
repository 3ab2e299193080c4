//! Settings: typed in, checked, resolved (contract K).
