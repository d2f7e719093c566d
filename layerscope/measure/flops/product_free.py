"""The operators known to hold no matrix product, attention or convolution.

torch tags most of them: an operator tagged `pointwise` or `reduction`, and a view, needs no name
here. What stands here are aten's others, read from the operators that torch 2.13 registers: copies,
lookups, fills, sorts, norms, softmax, pooling, interpolation, losses, random numbers, quantisation.
An operator that is neither tagged nor listed may hold products, so that its FLOPs are not known
(`missing`) until someone registers a formula. Names are without the underscore of in-place forms.
"""

from __future__ import annotations

# Namespaces whose operators describe, mark or send, and never compute products.
NAMESPACES = frozenset(
    {"prim", "profiler", "_c10d_functional", "_c10d_functional_autograd", "c10d", "streams"}
)

# Beside aten: quantised forms of pointwise operators, and torchvision's interpolation.
OTHERS = frozenset(
    {
        "quantized::add", "quantized::add_relu", "quantized::mul", "quantized::mul_relu",
        "quantized::cat", "quantized::hardswish", "quantized::leaky_relu", "quantized::sigmoid",
        "quantized::relu6", "quantized::elu", "quantized::batch_norm2d", "quantized::layer_norm",
        "quantized::softmax", "torchvision::nms", "torchvision::roi_align", "torchvision::roi_pool",
    }
)  # fmt: skip

ATEN = frozenset(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool2d_backward _adaptive_avg_pool3d
    _adaptive_avg_pool3d_backward _add_relu _aminmax _amp_foreach_non_finite_check_and_unscale
    _amp_update_scale _assert_async _assert_scalar _assert_tensor_metadata _batch_norm_no_update
    _batch_norm_with_update _batch_norm_with_update_functional _chunk_cat _coalesce _coalesced
    _conj_copy _convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo
    _convert_weight_to_int4pack _convert_weight_to_int4pack_for_cpu _copy_from
    _copy_from_and_resize _ctc_loss _ctc_loss_backward _cudnn_ctc_loss _cudnn_init_dropout_state
    _cudnn_rnn_flatten_weight _cummax_helper _cummin_helper _dimI _dimV _dirichlet_grad
    _dyn_quant_pack_4bit_weight _efficientzerotensor _embedding_bag _embedding_bag_backward
    _embedding_bag_dense_backward _embedding_bag_forward_only _empty_affine_quantized
    _empty_per_channel_affine_quantized _fake_quantize_learnable_per_channel_affine
    _fake_quantize_learnable_per_channel_affine_backward
    _fake_quantize_learnable_per_tensor_affine
    _fake_quantize_learnable_per_tensor_affine_backward
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fill_mem_eff_dropout_mask
    _fill_mem_eff_dropout_mask_ _foreach_abs _foreach_acos _foreach_add _foreach_addcdiv
    _foreach_addcmul _foreach_asin _foreach_atan _foreach_ceil _foreach_clamp_max
    _foreach_clamp_min _foreach_clone _foreach_copy _foreach_cos _foreach_cosh _foreach_div
    _foreach_erf _foreach_erfc _foreach_exp _foreach_expm1 _foreach_floor _foreach_frac
    _foreach_lerp _foreach_lgamma _foreach_log _foreach_log10 _foreach_log1p _foreach_log2
    _foreach_max _foreach_maximum _foreach_minimum _foreach_mul _foreach_neg _foreach_norm
    _foreach_pow _foreach_powsum _foreach_reciprocal _foreach_round _foreach_rsqrt
    _foreach_sigmoid _foreach_sign _foreach_sin _foreach_sinh _foreach_sqrt _foreach_sub
    _foreach_tan _foreach_tanh _foreach_trunc _foreach_zero _functional_assert_async
    _functional_assert_scalar _functional_sym_constrain_range
    _functional_sym_constrain_range_for_size _fused_adagrad _fused_adam _fused_adamw
    _fused_dropout _fused_moving_avg_obs_fq_helper _fused_moving_avg_obs_fq_helper_functional
    _fused_rms_norm _fused_rms_norm_backward _fused_sdp_choice _fused_sgd _fw_primal_copy
    _grid_sampler_2d_cpu_fallback _grid_sampler_2d_cpu_fallback_backward _has_same_storage_numel
    _histogramdd_bin_edges _histogramdd_from_bin_cts _histogramdd_from_bin_tensors
    _index_put_impl _indices_copy _is_all_true _is_any_true _jagged_to_padded_dense_forward
    _lazy_clone _linalg_check_errors _local_scalar_dense _log_softmax _log_softmax_backward_data
    _logcumsumexp _make_dep_token _make_dual_copy _make_per_channel_quantized_tensor
    _make_per_tensor_quantized_tensor _masked_scale _masked_softmax _masked_softmax_backward
    _mkldnn_reshape _mkldnn_transpose _native_batch_norm_legit
    _native_batch_norm_legit_functional _native_batch_norm_legit_no_training _neg_view_copy
    _nested_compute_contiguous_strides_offsets _nested_from_padded
    _nested_from_padded_and_nested_example _nested_get_values_copy _nested_select_backward
    _nested_sum_backward _nested_tensor_from_mask _nested_tensor_from_mask_left_aligned
    _nested_tensor_from_tensor_list _nested_tensor_size _nested_tensor_softmax_with_shape
    _nested_tensor_storage_offsets _nested_tensor_strides _nested_view_from_buffer_copy
    _nested_view_from_jagged_copy _new_zeros_with_same_feature_meta _nnz _pack_padded_sequence
    _padded_dense_to_jagged_forward _philox_key_fold_in _philox_key_split _philox_normal
    _philox_uniform _pin_memory _prelu_kernel _prelu_kernel_backward _reshape_alias_copy
    _reshape_copy _resize_output _safe_softmax _sample_dirichlet _segment_reduce_backward
    _softmax _softmax_backward_data _sparse_broadcast_to_copy
    _sparse_compressed_tensor_with_dims _sparse_coo_tensor_with_dims
    _sparse_coo_tensor_with_dims_and_tensors _sparse_csr_prod _sparse_csr_sum
    _sparse_log_softmax _sparse_log_softmax_backward_data _sparse_mask_projection
    _sparse_softmax _sparse_softmax_backward_data _sparse_sum _sparse_sum_backward _spdiags
    _stack _standard_gamma _standard_gamma_grad _thnn_fused_gru_cell
    _thnn_fused_gru_cell_backward _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl
    _to_copy _to_dense _to_sparse _to_sparse_bsc _to_sparse_bsr _to_sparse_csc _to_sparse_csr
    _transform_bias_rescale_qkv _unique _unique2 _unsafe_index _unsafe_index_put
    _unsafe_masked_index _unsafe_masked_index_put_accumulate _unsafe_view _upsample_bicubic2d_aa
    _upsample_bicubic2d_aa_backward _upsample_bilinear2d_aa _upsample_bilinear2d_aa_backward
    _upsample_lanczos2d_aa _upsample_lanczos2d_aa_backward _upsample_nearest_exact1d
    _upsample_nearest_exact1d_backward _upsample_nearest_exact2d
    _upsample_nearest_exact2d_backward _upsample_nearest_exact3d
    _upsample_nearest_exact3d_backward _validate_compressed_sparse_indices _values_copy
    _weight_norm_interface _weight_norm_interface_backward adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_avg_pool3d_backward adaptive_max_pool2d
    adaptive_max_pool2d_backward adaptive_max_pool3d adaptive_max_pool3d_backward alias_copy
    allclose arange as_strided_copy as_strided_scatter avg_pool1d avg_pool2d avg_pool2d_backward
    avg_pool3d avg_pool3d_backward bartlett_window batch_norm_backward batch_norm_backward_elemt
    batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats
    batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats bernoulli
    binary_cross_entropy binary_cross_entropy_backward binary_cross_entropy_with_logits bincount
    binomial blackman_window block_diag bucketize cat cauchy ccol_indices_copy channel_shuffle
    col2im col_indices_copy complex constant_pad_nd copy copy_sparse_to_sparse crow_indices_copy
    cudnn_batch_norm cudnn_batch_norm_backward cudnn_grid_sampler cudnn_grid_sampler_backward
    cummax cummin cumprod cumsum dense_dim dequantize detach_copy diag_embed diagonal_backward
    diagonal_copy diagonal_scatter dist elu_backward embedding embedding_dense_backward
    embedding_renorm empty_like empty_permuted empty_quantized empty_strided expand_copy
    exponential eye fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine_cachemask fft_fftfreq fft_rfftfreq fill flip floor_divide
    fractional_max_pool2d fractional_max_pool2d_backward fractional_max_pool3d
    fractional_max_pool3d_backward from_file full full_like gather geometric glu glu_backward
    glu_backward_jvp glu_jvp grid_sampler_2d grid_sampler_2d_backward grid_sampler_3d
    grid_sampler_3d_backward hamming_window hann_window hardshrink_backward hardsigmoid_backward
    hardswish hardswish_backward hardtanh_backward hash_tensor histc histogram huber_loss
    huber_loss_backward im2col index index_add index_copy index_fill index_put index_reduce
    index_select indices_copy int_repr is_coalesced is_pinned is_same_size is_set_to isin
    kaiser_window kthvalue leaky_relu_backward lift lift_fresh_copy linalg_cross linspace
    log_normal log_sigmoid_backward log_sigmoid_forward log_softmax logcumsumexp logspace
    lu_unpack masked_scatter masked_scatter_backward masked_select max_pool2d_backward
    max_pool2d_with_indices max_pool2d_with_indices_backward max_pool3d_with_indices
    max_pool3d_with_indices_backward max_unpool2d max_unpool3d median miopen_batch_norm
    miopen_batch_norm_backward miopen_ctc_loss mkldnn_adaptive_avg_pool2d
    mkldnn_adaptive_avg_pool2d_backward mkldnn_max_pool2d mkldnn_max_pool2d_backward
    mkldnn_max_pool3d mkldnn_max_pool3d_backward mkldnn_reorder_conv2d_weight
    mkldnn_reorder_conv3d_weight mode mse_loss mse_loss_backward multi_margin_loss
    multi_margin_loss_backward multilabel_margin_loss_backward multilabel_margin_loss_forward
    multinomial nanmedian narrow_copy native_batch_norm native_batch_norm_backward
    native_dropout native_group_norm native_group_norm_backward native_layer_norm
    native_layer_norm_backward native_norm new_empty new_empty_strided new_full new_ones
    new_zeros nll_loss2d_backward nll_loss2d_forward nll_loss_backward nll_loss_forward nonzero
    nonzero_static normal normal_functional ones ones_like permute_copy pixel_shuffle
    pixel_unshuffle poisson polar put q_per_channel_axis q_per_channel_scales
    q_per_channel_zero_points q_scale q_zero_point qscheme quantize_per_channel
    quantize_per_tensor quantize_per_tensor_dynamic quantized_batch_norm quantized_max_pool1d
    quantized_max_pool2d quantized_max_pool3d rand rand_like randint randint_like randn
    randn_like random randperm range record_stream reflection_pad1d reflection_pad1d_backward
    reflection_pad2d reflection_pad2d_backward reflection_pad3d reflection_pad3d_backward renorm
    repeat repeat_interleave replication_pad1d replication_pad1d_backward replication_pad2d
    replication_pad2d_backward replication_pad3d replication_pad3d_backward resize resize_as
    resize_as_sparse rms_norm roll rot90 row_indices_copy rrelu_with_noise
    rrelu_with_noise_backward rrelu_with_noise_functional scalar_tensor scatter scatter_add
    scatter_reduce searchsorted segment_reduce select_backward select_copy select_scatter set
    size slice_backward slice_copy slice_scatter smooth_l1_loss smooth_l1_loss_backward
    soft_margin_loss soft_margin_loss_backward softmax softplus_backward softshrink_backward
    sort sparse_compressed_tensor sparse_coo_tensor sparse_dim sparse_mask sparse_resize
    sparse_resize_and_clear split_copy split_with_sizes_copy squeeze_copy stack
    sym_constrain_range sym_constrain_range_for_size t_copy take to_mkldnn to_padded_tensor topk
    trace transpose_copy tril tril_indices triu triu_indices unbind_copy unfold_backward
    unfold_copy uniform unique_consecutive unique_dim unique_dim_consecutive unsafe_split
    unsafe_split_with_sizes unsqueeze_copy upsample_bicubic2d upsample_bicubic2d_backward
    upsample_bilinear2d upsample_bilinear2d_backward upsample_linear1d
    upsample_linear1d_backward upsample_nearest1d upsample_nearest1d_backward upsample_nearest2d
    upsample_nearest2d_backward upsample_nearest3d upsample_nearest3d_backward
    upsample_trilinear3d upsample_trilinear3d_backward values_copy view_as_complex_copy
    view_as_real_copy view_copy zero zeros zeros_like
    """.split()  # noqa: SIM905  # a list of words reads better than 500 quoted strings
)
