"""The course as a library: a module for each chapter that exports something.

nb_00    How this course is built
         same, test, test_eq, test_ne, near, test_near, test_near_zero, test_raises, CLAIM, claim,
         duration, synchronise, SpeedTable, speed_table, set_seed
nb_00a   Looking at data
         course_root, cache_dir, data_dirs, datasets, dataset_info, ChecksumError, DownloadError,
         sha256_at, sha256_of, check_file, offline, say_once, failure, ResumableDownload, download,
         locked, find_files, get_files_of, resolve, fetch, data_name, FONTS, VALID_FONTS, RECIPE,
         load_glyphs, random_affine, warp_basis, glyph_weights, make_digits, draw_warped, write_idx,
         read_idx, recipe_id, digits_folder, write_folder, write_digits, digits, split_train,
         get_data, as_picture, show_image, show_images
nb_01    Matrix multiplication
         matmul
nb_02    Fully connected: the forward and the backward pass
         normalize, mse, peak_memory, Module, ReLU, Linear, MSE
nb_02b   Initialising, and how to read a paper
         fans, GAINS, calculate_gain, kaiming_normal_, kaiming_uniform_, xavier_normal_,
         xavier_uniform_, orthogonal_

Written by notebook2script.py; `CHAPTERS` holds the same for programs.
"""
# notebook2script 1 sha256:93af81bda525ee07 head:f0df70a4
CHAPTERS = {
    'nb_00': {
        'title': 'How this course is built',
        'notebook': '00_exports.ipynb',
        'names': ['same', 'test', 'test_eq', 'test_ne', 'near', 'test_near', 'test_near_zero',
                  'test_raises', 'CLAIM', 'claim', 'duration', 'synchronise', 'SpeedTable',
                  'speed_table', 'set_seed'],
    },
    'nb_00a': {
        'title': 'Looking at data',
        'notebook': '00a_data.ipynb',
        'names': ['course_root', 'cache_dir', 'data_dirs', 'datasets', 'dataset_info',
                  'ChecksumError', 'DownloadError', 'sha256_at', 'sha256_of', 'check_file',
                  'offline', 'say_once', 'failure', 'ResumableDownload', 'download', 'locked',
                  'find_files', 'get_files_of', 'resolve', 'fetch', 'data_name', 'FONTS',
                  'VALID_FONTS', 'RECIPE', 'load_glyphs', 'random_affine', 'warp_basis',
                  'glyph_weights', 'make_digits', 'draw_warped', 'write_idx', 'read_idx',
                  'recipe_id', 'digits_folder', 'write_folder', 'write_digits', 'digits',
                  'split_train', 'get_data', 'as_picture', 'show_image', 'show_images'],
    },
    'nb_01': {
        'title': 'Matrix multiplication',
        'notebook': '01_matmul.ipynb',
        'names': ['matmul'],
    },
    'nb_02': {
        'title': 'Fully connected: the forward and the backward pass',
        'notebook': '02_fully_connected.ipynb',
        'names': ['normalize', 'mse', 'peak_memory', 'Module', 'ReLU', 'Linear', 'MSE'],
    },
    'nb_02b': {
        'title': 'Initialising, and how to read a paper',
        'notebook': '02b_initializing.ipynb',
        'names': ['fans', 'GAINS', 'calculate_gain', 'kaiming_normal_', 'kaiming_uniform_',
                  'xavier_normal_', 'xavier_uniform_', 'orthogonal_'],
    },
}
