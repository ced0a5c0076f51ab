#!/bin/sh
# From a free search to a comparison of what it found with known module types. Call it again to go on where it
# stopped. With the defaults and 4,000 images of 16x16 pixels each it takes about an hour on two cores:
#
#     sh examples/new_module/run.sh FOLDER IMAGES OTHER_IMAGES [TRIALS] [EPOCHS] [COMPARED] [WORKERS]
#
# FOLDER: for the runs and the module type that is found. IMAGES, OTHER_IMAGES: data of the search and of the
# comparison, as of nas search --data. What a search found suits the images that it saw, so that others decide.
# TRIALS: networks of the search, 400 unless given. EPOCHS: of each training, 8. COMPARED: trainings of the
# comparison, 480. WORKERS: 2; 0 trains without Ray.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 images=$2 others=$3 trials=${4:-400} epochs=${5:-8} compared=${6:-480} workers=${7:-2}
mkdir -p "$folder" && cd "$folder"

search() {  # search NAME TRIALS OPTION…: begin a run, or go on with it
    name=$1 count=$2
    shift 2
    if [ -e "results/$name" ]; then set -- --resume; else set -- "$@" --epochs "$epochs"; fi
    nas search --name "$name" --trials "$count" --workers "$workers" "$@"
}

search free "$trials" --space "$here/grammar_small.yaml" --searcher random --data "$images"
if [ ! -e found.py ]; then nas modules free --take 1 --name found --plot modules.png; fi
search compared "$compared" --space "$here/six_types.yaml" --searcher paired --seeds 1 --data "$others" \
    --plugin found.py
nas analyze compared --plugin found.py
