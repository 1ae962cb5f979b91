"""Who sings: voicebanks, speakers, recorded singers, and the effects that voices get."""
