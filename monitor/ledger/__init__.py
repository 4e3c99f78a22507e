"""The one door for decisions and for a month's figures: facts in, facts or a refusal out; facts in, statements out."""
