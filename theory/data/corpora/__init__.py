"""Seeded corpora of our own words: proofs over fictional ontologies, and stories whose bindings cannot be inferred."""

from .reasoning import check_reasoning as check_reasoning
from .reasoning import reasoning_corpus as reasoning_corpus
from .stories import check_stories as check_stories
from .stories import story_corpus as story_corpus
