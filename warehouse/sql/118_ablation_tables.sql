create view ablation_tables as
-- A metric measured by two backends fills two rows; the same number means the same backend down a column.
with one_backend_per_cell as (
    select
        *,
        dense_rank() over (
            partition by grid, own_dataset, own_protocol, metric order by own_backend
        ) as backend_set
    from ablation_results
)
select
    ablation,
    position,
    label,
    num_steps,
    max(published_value) filter (where metric = 'Sync-C') as published_sync_c,
    max(own_value) filter (where metric = 'Sync-C') as own_sync_c,
    max(own_ci_low) filter (where metric = 'Sync-C') as own_sync_c_low,
    max(own_ci_high) filter (where metric = 'Sync-C') as own_sync_c_high,
    max(published_value) filter (where metric = 'Sync-D') as published_sync_d,
    max(own_value) filter (where metric = 'Sync-D') as own_sync_d,
    max(own_ci_low) filter (where metric = 'Sync-D') as own_sync_d_low,
    max(own_ci_high) filter (where metric = 'Sync-D') as own_sync_d_high,
    max(published_value) filter (where metric = 'FVD') as published_fvd,
    max(own_value) filter (where metric = 'FVD') as own_fvd,
    max(own_ci_low) filter (where metric = 'FVD') as own_fvd_low,
    max(own_ci_high) filter (where metric = 'FVD') as own_fvd_high,
    max(published_value) filter (where metric = 'SSIM') as published_ssim,
    max(own_value) filter (where metric = 'SSIM') as own_ssim,
    max(own_ci_low) filter (where metric = 'SSIM') as own_ssim_low,
    max(own_ci_high) filter (where metric = 'SSIM') as own_ssim_high,
    min(own_repetitions) as own_repetitions,
    min(own_clips) as own_clips,
    variant,
    grid,
    own_preset,
    own_dataset,
    own_protocol,
    backend_set,
    bool_and(comparable_with_paper) as comparable_with_paper,
    string_agg(metric || ': ' || own_backend, '; ' order by metric) as own_backends,
    any_value(published_source) as published_source
from one_backend_per_cell
group by
    ablation, position, label, num_steps, variant, grid, own_preset, own_dataset, own_protocol, backend_set
order by grid nulls last, min(published_source), ablation, own_dataset, own_protocol, backend_set, position;

comment on view ablation_tables is
    'The ablations laid out as the paper''s tables, published and own numbers side by side. Grain: grid (null: variants that were not run), data set, protocol, set of backends, printed row.';
comment on column ablation_tables.ablation is 'Name of the ablation, as `lipforcing ablate --table` takes it.';
comment on column ablation_tables.position is 'Position of the row in its table, from 1, as printed.';
comment on column ablation_tables.label is 'The variant in words.';
comment on column ablation_tables.num_steps is 'Denoising steps per chunk.';
comment on column ablation_tables.published_sync_c is 'SyncNet confidence as the paper prints it; higher is better.';
comment on column ablation_tables.own_sync_c is 'SyncNet confidence, mean over the repetitions of this grid; higher is better.';
comment on column ablation_tables.own_sync_c_low is 'Lower end of the 95 % interval of own_sync_c; null below three repetitions.';
comment on column ablation_tables.own_sync_c_high is 'Upper end of the 95 % interval of own_sync_c; null below three repetitions.';
comment on column ablation_tables.published_sync_d is 'SyncNet distance as the paper prints it; lower is better.';
comment on column ablation_tables.own_sync_d is 'SyncNet distance, mean over the repetitions of this grid; lower is better.';
comment on column ablation_tables.own_sync_d_low is 'Lower end of the 95 % interval of own_sync_d; null below three repetitions.';
comment on column ablation_tables.own_sync_d_high is 'Upper end of the 95 % interval of own_sync_d; null below three repetitions.';
comment on column ablation_tables.published_fvd is 'Frechet distance of videos as the paper prints it; lower is better.';
comment on column ablation_tables.own_fvd is 'Frechet distance of videos, mean over the repetitions of this grid; lower is better.';
comment on column ablation_tables.own_fvd_low is 'Lower end of the 95 % interval of own_fvd; null below three repetitions.';
comment on column ablation_tables.own_fvd_high is 'Upper end of the 95 % interval of own_fvd; null below three repetitions.';
comment on column ablation_tables.published_ssim is 'Structural similarity as the paper prints it; higher is better.';
comment on column ablation_tables.own_ssim is 'Structural similarity, mean over the repetitions of this grid; higher is better.';
comment on column ablation_tables.own_ssim_low is 'Lower end of the 95 % interval of own_ssim; null below three repetitions.';
comment on column ablation_tables.own_ssim_high is 'Upper end of the 95 % interval of own_ssim; null below three repetitions.';
comment on column ablation_tables.own_repetitions is 'Trainings with seeds of their own that the own numbers are means of.';
comment on column ablation_tables.own_clips is 'Clips that the own numbers rest on.';
comment on column ablation_tables.variant is 'The variant that stands for the row; joins ablation_runs.';
comment on column ablation_tables.grid is 'The grid of the own numbers; joins ablation_runs. Null where there are none.';
comment on column ablation_tables.own_preset is 'The preset that the own variants are variants of.';
comment on column ablation_tables.own_dataset is 'Data set and version of the own numbers; joins datasets.';
comment on column ablation_tables.own_protocol is 'Protocol of the own numbers; joins protocols.';
comment on column ablation_tables.backend_set is 'Number that tells apart several rows of one variant where a metric was measured by several backends.';
comment on column ablation_tables.comparable_with_paper is 'Whether the protocol matches the paper''s in full. Where it does not, compare directions and no sizes.';
comment on column ablation_tables.own_backends is 'Backend of every own number of the row.';
comment on column ablation_tables.published_source is 'Paper and table.';
