# The public names of this room; `__init__.py` loads each when it is first used.

from .dataset import check_beetlebox as check_beetlebox
from .dataset import write_beetlebox as write_beetlebox
from .ground_truth import BODY_PARTS as BODY_PARTS
from .ground_truth import ground_truth_effects as ground_truth_effects
from .ground_truth import ground_truth_map as ground_truth_map
from .ground_truth import pair_effects as pair_effects
from .ground_truth import shapley_effects as shapley_effects
from .ground_truth import silhouette as silhouette
from .guide import field_guide as field_guide
from .guide import species_name as species_name
from .scene import PARTS as PARTS
from .scene import SPECIES as SPECIES
from .scene import TRAITS as TRAITS
from .scene import Scene as Scene
from .scene import Traits as Traits
from .scene import scenes as scenes
from .scores import magnitude_agreement as magnitude_agreement
from .scores import part_relevance as part_relevance
from .scores import pearson_with_truth as pearson_with_truth
from .scores import score_against_ground_truth as score_against_ground_truth
from .scores import sign_agreement as sign_agreement
from .scores import spearman_with_truth as spearman_with_truth
from .scores import top1_agreement as top1_agreement
from .tensors import DrawnScenes as DrawnScenes
from .tensors import stack_images as stack_images
from .tensors import stack_masks as stack_masks
