create view paper_generalisation as
select
    paper_table,
    method,
    variant,
    num_steps,
    dataset,
    max(value) filter (where metric = 'Sync-C') as sync_c,
    max(value) filter (where metric = 'Sync-D') as sync_d,
    max(value) filter (where metric = 'CSIM') as csim,
    max(value) filter (where metric = 'FID') as fid,
    max(value) filter (where metric = 'FVD') as fvd,
    max(value) filter (where metric = 'SSIM') as ssim,
    max(source) as source
from published_results
where paper_table in ('hallo3', 'talkvid')
group by paper_table, method, variant, num_steps, dataset
order by paper_table, min(row_number);

comment on view paper_generalisation is
    'The paper''s out-of-domain tables, Hallo3 and TalkVid. Grain: paper table, method, variant, number of steps, data set.';
comment on column paper_generalisation.paper_table is 'The paper''s table, such as main_hdtf or hallo3.';
comment on column paper_generalisation.method is 'Method as printed in the paper.';
comment on column paper_generalisation.variant is 'Size or preset, and ablation settings; null where none.';
comment on column paper_generalisation.num_steps is 'Denoising steps per chunk; null where there are none or the table does not print them.';
comment on column paper_generalisation.dataset is 'Evaluation set as printed; null where the number belongs to none.';
comment on column paper_generalisation.sync_c is 'SyncNet confidence (metric Sync-C); higher is better.';
comment on column paper_generalisation.sync_d is 'SyncNet distance (metric Sync-D); lower is better.';
comment on column paper_generalisation.csim is 'Cosine similarity of face identities (metric CSIM), from -1 to 1; higher is better.';
comment on column paper_generalisation.fid is 'Frechet inception distance of frames (metric FID); lower is better.';
comment on column paper_generalisation.fvd is 'Frechet distance of videos (metric FVD); lower is better.';
comment on column paper_generalisation.ssim is 'Structural similarity (metric SSIM), at most 1; higher is better.';
comment on column paper_generalisation.source is 'Paper and table.';
