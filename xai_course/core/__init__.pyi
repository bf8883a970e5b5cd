# The public names of this room; `__init__.py` loads each when it is first used.

from .baselines import baseline_images as baseline_images
from .checks import check_choice as check_choice
from .checks import check_count as check_count
from .checks import check_number as check_number
from .hooks import BiasTracer as BiasTracer
from .hooks import capture_layer as capture_layer
from .hooks import intercept as intercept
from .hooks import relu_upper_bound as relu_upper_bound
from .inputs import upsample_keep_sum as upsample_keep_sum
from .inputs import validate_inputs as validate_inputs
from .maps import Explainer as Explainer
from .maps import map_ranks as map_ranks
from .maps import map_similarity as map_similarity
from .maps import relevance_maps as relevance_maps
from .paths import data_folder as data_folder
from .randomness import isolated_rng as isolated_rng
from .randomness import seeded_rng as seeded_rng
from .statistics import auroc_placements as auroc_placements
from .statistics import detected_at_fpr as detected_at_fpr
from .statistics import lower_bound as lower_bound
from .statistics import mean_interval as mean_interval
from .statistics import seed_interval as seed_interval
from .statistics import sign_test as sign_test
from .statistics import skill_score as skill_score
