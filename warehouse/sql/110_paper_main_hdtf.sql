create view paper_main_hdtf as
with published as (
    select
        'published' as origin,
        null as run_id,
        method,
        variant,
        num_steps,
        dataset,
        null as protocol_id,
        null::bigint as backend_set,
        null as backends,
        max(source) as source,
        true as comparable_with_paper,
        max(value) filter (where metric = 'FPS') as fps,
        max(value) filter (where metric = 'TTFF') as ttff_s,
        max(value) filter (where metric = 'Sync-C') as sync_c,
        max(value) filter (where metric = 'Sync-D') as sync_d,
        max(value) filter (where metric = 'CSIM') as csim,
        max(value) filter (where metric = 'FID') as fid,
        max(value) filter (where metric = 'FVD') as fvd,
        max(value) filter (where metric = 'SSIM') as ssim,
        min(row_number) as position
    from published_results
    where paper_table = 'main_hdtf'
    group by method, variant, num_steps, dataset
),
-- A metric measured by two backends fills two rows; the same number means the same backend down a column.
one_backend_per_cell as (
    select
        *,
        dense_rank() over (
            partition by run_id, dataset_id, protocol_id, published_name order by backend, metric
        ) as backend_set
    from set_scores
    where published_name in ('FPS', 'TTFF', 'Sync-C', 'Sync-D', 'CSIM', 'FID', 'FVD', 'SSIM')
),
measured as (
    select
        'measured' as origin,
        run_id,
        label as method,
        variant,
        num_steps,
        dataset_id as dataset,
        protocol_id,
        backend_set,
        string_agg(published_name || ': ' || backend, '; ' order by published_name) as backends,
        'run ' || run_id as source,
        coalesce(bool_and(paper_table = 'main_hdtf'), false) as comparable_with_paper,
        max(value) filter (where published_name = 'FPS') as fps,
        max(value) filter (where published_name = 'TTFF') as ttff_s,
        max(value) filter (where published_name = 'Sync-C') as sync_c,
        max(value) filter (where published_name = 'Sync-D') as sync_d,
        max(value) filter (where published_name = 'CSIM') as csim,
        max(value) filter (where published_name = 'FID') as fid,
        max(value) filter (where published_name = 'FVD') as fvd,
        max(value) filter (where published_name = 'SSIM') as ssim,
        null::integer as position
    from one_backend_per_cell
    group by run_id, system, label, variant, num_steps, dataset_id, protocol_id, backend_set
)
select * exclude (position)
from (from published union all by name from measured)
order by origin desc, position, run_id, dataset, protocol_id, backend_set, method;

comment on view paper_main_hdtf is
    'The paper''s main table with measured rows beside it. Grain: origin, run, method, data set, protocol, backend set. Compare two rows only where data set, protocol and backends are the same.';
comment on column paper_main_hdtf.origin is 'published (printed in the paper) or measured (by a run of this project).';
comment on column paper_main_hdtf.backend_set is 'Within a run, data set and protocol: the same number means the same backend in every column.';
comment on column paper_main_hdtf.backends is 'Which backend produced each measured value.';
comment on column paper_main_hdtf.comparable_with_paper is 'Whether the protocol matches the paper''s table in full (protocols.paper_table).';
comment on column paper_main_hdtf.ttff_s is 'Time to the first frame in seconds; the paper prints ms, which cannot be.';
comment on column paper_main_hdtf.run_id is 'The run that measured the row; null for published rows.';
comment on column paper_main_hdtf.method is 'Method as printed, or the label of the measured system.';
comment on column paper_main_hdtf.variant is 'Size or preset, and ablation settings; null where none.';
comment on column paper_main_hdtf.num_steps is 'Denoising steps per chunk; null where there are none or the table does not print them.';
comment on column paper_main_hdtf.dataset is 'Evaluation set as printed, or data set and version of the measured row.';
comment on column paper_main_hdtf.protocol_id is 'Protocol of the measured row; null for published rows.';
comment on column paper_main_hdtf.source is 'Paper and table, or the run.';
comment on column paper_main_hdtf.fps is 'Frames per second of the pipeline (metric FPS); higher is better.';
comment on column paper_main_hdtf.sync_c is 'SyncNet confidence (metric Sync-C); higher is better.';
comment on column paper_main_hdtf.sync_d is 'SyncNet distance (metric Sync-D); lower is better.';
comment on column paper_main_hdtf.csim is 'Cosine similarity of face identities (metric CSIM), from -1 to 1; higher is better.';
comment on column paper_main_hdtf.fid is 'Frechet inception distance of frames (metric FID); lower is better.';
comment on column paper_main_hdtf.fvd is 'Frechet distance of videos (metric FVD); lower is better.';
comment on column paper_main_hdtf.ssim is 'Structural similarity (metric SSIM), at most 1; higher is better.';
