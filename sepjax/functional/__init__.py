"""Pure functions of arrays: every formula of sepjax, free of state and of Flax."""

from sepjax.functional import augment as augment
from sepjax.functional import augmentations as augmentations
from sepjax.functional import filterbanks as filterbanks
from sepjax.functional import framing as framing
from sepjax.functional import generation as generation
from sepjax.functional import hearing as hearing
from sepjax.functional import inverse as inverse
from sepjax.functional import live as live
from sepjax.functional import masking as masking
from sepjax.functional import norms as norms
from sepjax.functional import recurrent as recurrent
from sepjax.functional import resample as resample
from sepjax.functional import spectral as spectral
from sepjax.functional import tcn as tcn
from sepjax.functional import training as training
from sepjax.functional import wiener as wiener
