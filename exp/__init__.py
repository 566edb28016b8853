"""The course as a library: a module for each chapter that exports something.

nb_00    How this course is built
         same, test, test_eq, test_ne, near, test_near, test_near_zero, test_raises, CLAIM, claim,
         Table, table, duration, synchronise, SpeedTable, speed_table, set_seed
nb_00a   Looking at data
         show_image, show_images, write_idx, read_idx, FONTS, build_glyphs, course_root,
         load_glyphs, RECIPE, make_digits, VALID_FONTS, digits, datasets, ChecksumError,
         DownloadError, ResumableDownload, unpack, load_pickle, fetch, data_name, get_data
nb_01    Matrix multiplication
         matmul
nb_01c   Fast matrix multiplication
         find_compiler, has_compiler, NoCompiler, CompileError, compile_c, MATMUL_C, c_matmul,
         numba_matmul
nb_02    Fully connected: the forward and the backward pass
         normalize, mse, peak_memory, Module, ReLU, Linear, MSE
nb_02b   Initialising, and how to read a paper
         fans, GAINS, calculate_gain, kaiming_normal_, kaiming_uniform_, xavier_normal_,
         xavier_uniform_, orthogonal_
nb_02c   Autograd: a tape that runs backwards
         Picture, unbroadcast, no_grad, Rule, SMALL, Edge, Node, OPS, Op, Tensor, op, tape_of,
         draw_graph, gradcheck, check_op
nb_02d   Logistic regression, five ways
         log_softmax, nll_loss, cross_entropy, accuracy
nb_03    Mini-batch training
         SGD, Dataset, Sampler, BatchSampler, collate, DataLoader, get_dls, evaluate, fit
nb_04    Callbacks and the Learner
         CancelFit, CancelEpoch, CancelBatch, EVENTS, CLOSING, Callback, DataLoaders, get_hyper,
         set_hyper, Learner, Metrics, Recorder
nb_05    Schedules and the learning rate
         sched_lin, sched_no, sched_cos, sched_exp, combine_scheds, one_cycle, ParamScheduler,
         rng_states, set_rng_states, suggest_lr, LRFinder
nb_05a   Foundations: Python and statistics
         RunningStats
nb_05b   Stopping, saving, resuming
         Best, EarlyStopping, save_atomically, SaveBest, NanGuard, Checkpoint
nb_06    Convolutions, devices, hooks, initialisation
         conv_size, applied, im2col, col2im, conv2d, CONV_C, c_conv2d, to_image, BatchTransform,
         best_device, to_device, DeviceCallback, conv_block, simple_cnn, Hook, Hooks,
         ActivationStats, init_cnn, GeneralReLU
nb_07    Batch normalisation and its relatives
         BatchNorm, LayerNorm, RMSNorm, InstanceNorm, GroupNorm, RunningBatchNorm
nb_07a   LSUV: initialising by measuring
         lsuv_init
nb_08    The data block: from files to batches
         CLASSES, PICTURES, make_pictures, pictures, IMAGE_EXTENSIONS, get_files, ItemList,
         ImageError, open_image, ImageList, split_by_grandparent, split_randomly, Split, Transform,
         CategoryProcessor, label_by_parent, ItemDataset, LabelledData, Resize, ToTensor,
         NormalizeChannels, to_dls, Summary, model_summary
nb_09    Optimisers from small rules
         hypers_of, sgd_step, weight_decay, l2_reg, stat, momentum, nesterov, average_sqr_grad,
         rms_direction, average_grad, count_steps, adam_direction, adam_step, RulesBy, Optimizer,
         sgd_opt, rmsprop_opt, adam_opt, adamw_opt, whole_tensor, trust_ratio, lamb_opt,
         lion_direction, lion_opt, newton_schulz, nesterov_average, orthogonal_direction, muon_opt,
         TensorList, ForeachOptimizer, FlatOptimizer
nb_09b   A complete Learner
         split_at, check_groups, spread, activation_for, FullLearner
nb_09c   A progress bar, and a log that survives
         ProgressCallback, read_jsonl, JsonlLogger
nb_10    Augmentation: more pictures from the ones you have
         RandomTransform, Flip, Dihedral, CenterCrop, random_box, RandomResizedCrop, translation,
         rotation, zoom, shear, reflection, sampling_grid, warp, homography, Perspective,
         BatchAffine, BatchAugment, RandomErasing, TRIVIAL_OPS, TrivialAugment, TicketSampler,
         SeededDataset, seeded_dls, tta
nb_10b   Mixup, CutMix and label smoothing
         mix_images, unreduced, mixed_loss, MixUp, cut_box, paste_box, CutMix, LabelSmoothing,
         calibration_bins, ece, reliability_diagram
nb_10c   Mixed precision: fp16, bf16, fp8
         float_layout, float_bits, decode_bits, draw_bits, LossScaler, unscale_, MixedPrecision,
         saved_bytes
nb_11    Train Imagenette: residual networks and a recipe
         ResBlock, XResNet, xresnet18, xresnet34, xresnet50, xresnet101, xresnet152, cnn_learner,
         IMAGENETTE, imagenette_path, imagenette_dls
nb_11a   Transfer learning
         LETTERS, letters, AdaptiveConcatPool2d, n_features, make_head, cut_body, adapt_model,
         load_body, frozen_norms, FreezeNorms, LoRALinear, LoRAConv2d, add_lora, merge_lora,
         adapter_state, load_adapter

Written by notebook2script.py; `CHAPTERS` holds the same for programs.
"""
# notebook2script 1 sha256:9813a02abaa5dd74 head:ec04b86a
CHAPTERS = {
    'nb_00': {
        'title': 'How this course is built',
        'notebook': '00_exports.ipynb',
        'names': ['same', 'test', 'test_eq', 'test_ne', 'near', 'test_near', 'test_near_zero',
                  'test_raises', 'CLAIM', 'claim', 'Table', 'table', 'duration', 'synchronise',
                  'SpeedTable', 'speed_table', 'set_seed'],
    },
    'nb_00a': {
        'title': 'Looking at data',
        'notebook': '00a_data.ipynb',
        'names': ['show_image', 'show_images', 'write_idx', 'read_idx', 'FONTS', 'build_glyphs',
                  'course_root', 'load_glyphs', 'RECIPE', 'make_digits', 'VALID_FONTS', 'digits',
                  'datasets', 'ChecksumError', 'DownloadError', 'ResumableDownload', 'unpack',
                  'load_pickle', 'fetch', 'data_name', 'get_data'],
    },
    'nb_01': {
        'title': 'Matrix multiplication',
        'notebook': '01_matmul.ipynb',
        'names': ['matmul'],
    },
    'nb_01c': {
        'title': 'Fast matrix multiplication',
        'notebook': '01c_fast_matmul.ipynb',
        'names': ['find_compiler', 'has_compiler', 'NoCompiler', 'CompileError', 'compile_c',
                  'MATMUL_C', 'c_matmul', 'numba_matmul'],
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
    'nb_02c': {
        'title': 'Autograd: a tape that runs backwards',
        'notebook': '02c_autograd.ipynb',
        'names': ['Picture', 'unbroadcast', 'no_grad', 'Rule', 'SMALL', 'Edge', 'Node', 'OPS', 'Op',
                  'Tensor', 'op', 'tape_of', 'draw_graph', 'gradcheck', 'check_op'],
    },
    'nb_02d': {
        'title': 'Logistic regression, five ways',
        'notebook': '02d_logistic_regression.ipynb',
        'names': ['log_softmax', 'nll_loss', 'cross_entropy', 'accuracy'],
    },
    'nb_03': {
        'title': 'Mini-batch training',
        'notebook': '03_minibatch_training.ipynb',
        'names': ['SGD', 'Dataset', 'Sampler', 'BatchSampler', 'collate', 'DataLoader', 'get_dls',
                  'evaluate', 'fit'],
    },
    'nb_04': {
        'title': 'Callbacks and the Learner',
        'notebook': '04_callbacks.ipynb',
        'names': ['CancelFit', 'CancelEpoch', 'CancelBatch', 'EVENTS', 'CLOSING', 'Callback',
                  'DataLoaders', 'get_hyper', 'set_hyper', 'Learner', 'Metrics', 'Recorder'],
    },
    'nb_05': {
        'title': 'Schedules and the learning rate',
        'notebook': '05_anneal.ipynb',
        'names': ['sched_lin', 'sched_no', 'sched_cos', 'sched_exp', 'combine_scheds', 'one_cycle',
                  'ParamScheduler', 'rng_states', 'set_rng_states', 'suggest_lr', 'LRFinder'],
    },
    'nb_05a': {
        'title': 'Foundations: Python and statistics',
        'notebook': '05a_foundations.ipynb',
        'names': ['RunningStats'],
    },
    'nb_05b': {
        'title': 'Stopping, saving, resuming',
        'notebook': '05b_early_stopping.ipynb',
        'names': ['Best', 'EarlyStopping', 'save_atomically', 'SaveBest', 'NanGuard', 'Checkpoint'],
    },
    'nb_06': {
        'title': 'Convolutions, devices, hooks, initialisation',
        'notebook': '06_cuda_cnn_hooks_init.ipynb',
        'names': ['conv_size', 'applied', 'im2col', 'col2im', 'conv2d', 'CONV_C', 'c_conv2d',
                  'to_image', 'BatchTransform', 'best_device', 'to_device', 'DeviceCallback',
                  'conv_block', 'simple_cnn', 'Hook', 'Hooks', 'ActivationStats', 'init_cnn',
                  'GeneralReLU'],
    },
    'nb_07': {
        'title': 'Batch normalisation and its relatives',
        'notebook': '07_batchnorm.ipynb',
        'names': ['BatchNorm', 'LayerNorm', 'RMSNorm', 'InstanceNorm', 'GroupNorm',
                  'RunningBatchNorm'],
    },
    'nb_07a': {
        'title': 'LSUV: initialising by measuring',
        'notebook': '07a_lsuv.ipynb',
        'names': ['lsuv_init'],
    },
    'nb_08': {
        'title': 'The data block: from files to batches',
        'notebook': '08_data_block.ipynb',
        'names': ['CLASSES', 'PICTURES', 'make_pictures', 'pictures', 'IMAGE_EXTENSIONS',
                  'get_files', 'ItemList', 'ImageError', 'open_image', 'ImageList',
                  'split_by_grandparent', 'split_randomly', 'Split', 'Transform',
                  'CategoryProcessor', 'label_by_parent', 'ItemDataset', 'LabelledData', 'Resize',
                  'ToTensor', 'NormalizeChannels', 'to_dls', 'Summary', 'model_summary'],
    },
    'nb_09': {
        'title': 'Optimisers from small rules',
        'notebook': '09_optimizers.ipynb',
        'names': ['hypers_of', 'sgd_step', 'weight_decay', 'l2_reg', 'stat', 'momentum', 'nesterov',
                  'average_sqr_grad', 'rms_direction', 'average_grad', 'count_steps',
                  'adam_direction', 'adam_step', 'RulesBy', 'Optimizer', 'sgd_opt', 'rmsprop_opt',
                  'adam_opt', 'adamw_opt', 'whole_tensor', 'trust_ratio', 'lamb_opt',
                  'lion_direction', 'lion_opt', 'newton_schulz', 'nesterov_average',
                  'orthogonal_direction', 'muon_opt', 'TensorList', 'ForeachOptimizer',
                  'FlatOptimizer'],
    },
    'nb_09b': {
        'title': 'A complete Learner',
        'notebook': '09b_learner.ipynb',
        'names': ['split_at', 'check_groups', 'spread', 'activation_for', 'FullLearner'],
    },
    'nb_09c': {
        'title': 'A progress bar, and a log that survives',
        'notebook': '09c_add_progress_bar.ipynb',
        'names': ['ProgressCallback', 'read_jsonl', 'JsonlLogger'],
    },
    'nb_10': {
        'title': 'Augmentation: more pictures from the ones you have',
        'notebook': '10_augmentation.ipynb',
        'names': ['RandomTransform', 'Flip', 'Dihedral', 'CenterCrop', 'random_box',
                  'RandomResizedCrop', 'translation', 'rotation', 'zoom', 'shear', 'reflection',
                  'sampling_grid', 'warp', 'homography', 'Perspective', 'BatchAffine',
                  'BatchAugment', 'RandomErasing', 'TRIVIAL_OPS', 'TrivialAugment', 'TicketSampler',
                  'SeededDataset', 'seeded_dls', 'tta'],
    },
    'nb_10b': {
        'title': 'Mixup, CutMix and label smoothing',
        'notebook': '10b_mixup_label_smoothing.ipynb',
        'names': ['mix_images', 'unreduced', 'mixed_loss', 'MixUp', 'cut_box', 'paste_box',
                  'CutMix', 'LabelSmoothing', 'calibration_bins', 'ece', 'reliability_diagram'],
    },
    'nb_10c': {
        'title': 'Mixed precision: fp16, bf16, fp8',
        'notebook': '10c_fp16.ipynb',
        'names': ['float_layout', 'float_bits', 'decode_bits', 'draw_bits', 'LossScaler',
                  'unscale_', 'MixedPrecision', 'saved_bytes'],
    },
    'nb_11': {
        'title': 'Train Imagenette: residual networks and a recipe',
        'notebook': '11_train_imagenette.ipynb',
        'names': ['ResBlock', 'XResNet', 'xresnet18', 'xresnet34', 'xresnet50', 'xresnet101',
                  'xresnet152', 'cnn_learner', 'IMAGENETTE', 'imagenette_path', 'imagenette_dls'],
    },
    'nb_11a': {
        'title': 'Transfer learning',
        'notebook': '11a_transfer_learning.ipynb',
        'names': ['LETTERS', 'letters', 'AdaptiveConcatPool2d', 'n_features', 'make_head',
                  'cut_body', 'adapt_model', 'load_body', 'frozen_norms', 'FreezeNorms',
                  'LoRALinear', 'LoRAConv2d', 'add_lora', 'merge_lora', 'adapter_state',
                  'load_adapter'],
    },
}
