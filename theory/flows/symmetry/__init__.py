"""What flows conserve: candidates, random points at which they are screened, proofs by symmetries."""
