"""Who sings it: voicebanks, speakers, recorded singers, and what engineers do to them."""
